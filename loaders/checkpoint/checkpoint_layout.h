#pragma once

#include <string>
#include <unordered_map>
#include <vector>

#include "loaders/checkpoint/v4_names.h"
#include "loaders/safetensors/safetensors.h"

namespace v4rt {

// A file tensor and its scale plane, under the weight's official name.
struct StoredWeight {
  const StoredTensor* values = nullptr;
  const StoredTensor* scales = nullptr;
};
using OfficialTensors = std::unordered_map<std::string, StoredWeight>;

// Consecutive rows of a stored weight, its leading dimensions flattened into rows.
struct Piece {
  StoredWeight stored;
  DType dtype = DType::kF32;  // of the stored values
  int64_t first_row = 0, rows = 0;
};

// Where a weight's bytes are and how they are served. Made from headers alone.
struct WeightLayout {
  WeightInfo info;
  TensorType type;            // as the model sees it
  std::vector<Piece> pieces;  // in order; together the whole weight
  bool convert = false;       // some piece is not stored in `type`, or it is a table: all values are converted
};

int64_t columns(const Shape& shape);         // of a row: the last dimension
int64_t stored_rows(const StoredTensor& t);  // all dimensions but the last, flattened
DType value_dtype(StoredType type);          // how the values of a matrix are read; throws Error(kUnsupported)

// Finds `info`'s tensors, checks dtypes, shapes and scale planes, and decides how the weight is served. Appends the
// official names of missing tensors to `missing`; the layout is then useless. Appends the names of the tensors that it
// uses to `used`.
WeightLayout lay_out(const WeightInfo& info, const OfficialTensors& tensors, const SafetensorsSet& set,
                     std::vector<std::string>& missing, std::vector<std::string>& used);

}  // namespace v4rt
