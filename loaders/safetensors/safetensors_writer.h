#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "loaders/files/pending_files.h"
#include "loaders/safetensors/safetensors.h"

namespace v4rt {

// The entry of one tensor in a header; its data follows that of the entry before it.
struct HeaderEntry {
  std::string name, dtype;  // as the file spells it: "BF16"
  std::vector<int64_t> shape;
  int64_t bytes = 0;
};

// All bytes before the data: the length of a text as u64, and the text, padded so that the data begins at a multiple of
// eight. Names must differ; nothing else is checked.
std::string safetensors_header(std::span<const HeaderEntry> entries);

struct NewTensor {
  std::string name;
  StoredType type = StoredType::kF32;
  Shape shape;
  int64_t bytes() const { return shape.elements() * bits(type) / 8; }
};

// Writes the shards of a model and their index, holding one block of values at a time:
//   model-00001-of-00002.safetensors, model-00002-of-00002.safetensors, model.safetensors.index.json.
// Tensors are distributed to shards in order. Within a shard those with wider elements come first, so that every value
// is aligned, as the format's own writers do.
class SafetensorsWriter {
 public:
  static constexpr size_t kBlock = size_t{1} << 20;

  // A shard ends before the tensor that would take its data beyond `shard_bytes`.
  SafetensorsWriter(std::vector<NewTensor> tensors, int64_t shard_bytes);

  const std::vector<NewTensor>& tensors() const { return tensors_; }
  std::vector<std::string> file_names() const;
  int64_t data_bytes() const { return data_bytes_; }
  int64_t file_bytes() const { return file_bytes_; }  // of shards and index

  // Fills `out` with the bytes of tensors()[tensor] from `offset` on, a multiple of kBlock.
  using Fill = std::function<void(size_t tensor, int64_t offset, std::span<std::byte> out)>;
  void write(PendingFiles& files, const Fill& fill) const;

 private:
  struct Shard {
    std::string name;
    std::vector<size_t> tensors;  // in the order of their data
    std::string header;           // all bytes before the data
  };
  void plan_shards(int64_t shard_bytes);
  std::string header_of(const Shard& shard) const;
  std::string index_of_all() const;

  std::vector<NewTensor> tensors_;
  std::vector<Shard> shards_;
  std::string index_;
  int64_t data_bytes_ = 0, file_bytes_ = 0;
};

}  // namespace v4rt
