#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "loaders/checkpoint/v4_config.h"
#include "ops/core/hash.h"
#include "ops/core/tensor.h"

namespace v4rt {

// One weight as the model wants it. Its bytes lie in one or more parts, one after the other along the leading
// dimensions: the experts of a stack, or the two halves of a fused matrix, which are separate tensors in a file.
struct WeightView {
  TensorType type;                                      // of the whole; Layout::kRows
  std::vector<std::span<const std::byte>> parts;        // together type.bytes()
  std::vector<std::span<const std::byte>> scale_parts;  // together type.scale_bytes(); one per part, or empty
  std::shared_ptr<const void> owner;                    // keeps the bytes alive
};

// What the release does to activations before a product with a weight: where the weight is stored in FP8 or FP4, they
// are rounded to FP8 (spec section 3.6). A weight of several tensors may ask for both.
enum class ActivationRounding : uint8_t { kNone, kFp8, kMixed };

// What tells these weights from all others, at the cost of some reading.
struct WeightIdentity {
  std::string name;   // of the checkpoint, fit for the name of a file: the same while it is changed in place
  Hash value;         // another one when anything changed, and for a copy
  Hash content = {};  // headers and a sample of the pages: a copy's too. A change of a few values may not show in it
};

// Where weights come from. Names are those of loaders/checkpoint/v4_names.h: the official ones, with experts stacked.
class WeightSource {
 public:
  virtual ~WeightSource() = default;
  virtual const V4Config& config() const = 0;
  virtual bool has(std::string_view name) const = 0;
  // The type that get() answers, from headers alone: no weight is read.
  virtual TensorType type(std::string_view name) const { return get(name).type; }
  // Follows from how the checkpoint stores the weight, whatever type() it is served in: serving changes no number.
  virtual ActivationRounding activation_rounding(std::string_view name) const {
    return has_scale_plane(type(name).dtype) ? ActivationRounding::kFp8 : ActivationRounding::kNone;
  }
  // The values as they are stored: nobody has looked at them yet.
  virtual WeightView get(std::string_view name) const = 0;
  // Reads the values, once, and throws Error naming tensor and place where one cannot be: what uses values of get()
  // calls this before.
  virtual void check_values(std::string_view name) const { (void)name; }
  // The values of `view` will not be read again soon: its pages may leave memory.
  virtual void release(const WeightView& view) const { (void)view; }
  // Whether `bytes` of a view are a file's, which may have to be read from disk.
  virtual bool is_mapped(std::span<const std::byte> bytes) const { return (void)bytes, false; }
  // Throws Error naming the file when one that views lie in was changed since.
  virtual void check_intact() const {}
  virtual std::optional<WeightIdentity> identity() const { return std::nullopt; }  // nothing: weights of no file
};

}  // namespace v4rt
