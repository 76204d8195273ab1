#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "loaders/safetensors/safetensors.h"

namespace v4rt {

// A text, and the logits after some of its tokens as another program computed them.
struct GoldenText {
  std::string name;  // empty: its tensors have no name in front
  std::vector<int32_t> ids;
  std::vector<int64_t> positions;     // of the rows of logits, ascending
  std::span<const std::byte> logits;  // F32 [positions, vocabulary], where the file is mapped
  std::shared_ptr<const SafetensorsSet> file;

  void read(size_t row, std::span<float> values) const;
};

// The texts of a safetensors file. Of each, called NAME, it holds
//   NAME.ids        I32 or I64 [n]
//   NAME.logits     F32 [n, vocabulary]: row i is after token i
//   NAME.positions  I32 or I64 [m], optional: logits are [m, vocabulary], only after these tokens, ascending
// or the same without "NAME." for one text. Logits without ids belong to `ids`. Other tensors are left alone. Throws
// Error naming what is missing or has another type, shape or range.
std::vector<GoldenText> read_golden(const std::string& path, int64_t vocabulary, std::span<const int32_t> ids);

}  // namespace v4rt
