#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "loaders/checkpoint/checkpoint_layout.h"

namespace v4rt {

// Memory for values that cannot be used in place; aligned for any kernel.
class OwnedBytes {
 public:
  explicit OwnedBytes(size_t bytes);
  std::span<std::byte> bytes() const { return {memory_.get(), size_}; }

 private:
  struct Free {
    void operator()(std::byte* memory) const;
  };
  std::unique_ptr<std::byte, Free> memory_;
  size_t size_;
};

// Throws Error naming tensor and place of a number that is not finite, an E8M0 NaN, or a scale that is not a power of
// two.
void check_stored_values(const WeightLayout& weight, const SafetensorsSet& set);

// The bytes of the rows of `piece`, in the file.
std::span<const std::byte> value_bytes(const Piece& piece);

// The scale bytes of the rows of `piece`: in the file, or converted into `owned`.
std::span<const std::byte> scale_bytes(const Piece& piece, std::vector<OwnedBytes>& owned);

// The whole weight converted to weight.type (F32 or I32), pieces one after the other. Throws Error naming tensor and
// row: a token table whose expert ids lie outside [0, experts) or repeat in a row.
void convert(const WeightLayout& weight, int64_t experts, const SafetensorsSet& set, std::span<std::byte> out);

}  // namespace v4rt
