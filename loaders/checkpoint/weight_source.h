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

// One weight in the form the model wants. Its bytes are in one or more parts, one after the other along the leading
// dimensions: the experts of a stack, or the two halves of a fused matrix, which are separate tensors in a file.
struct WeightView {
  TensorType type;                                      // of the whole; Layout::kRows
  std::vector<std::span<const std::byte>> parts;        // together type.bytes()
  std::vector<std::span<const std::byte>> scale_parts;  // together type.scale_bytes(); one per part, or empty
  std::shared_ptr<const void> owner;                    // keeps the bytes alive
};

// What the release does to activations before a product with a weight: if the weight is stored in FP8 or FP4, they are
// rounded to FP8 (spec section 3.6). The tensors of one weight may disagree: kMixed.
enum class ActivationRounding : uint8_t { kNone, kFp8, kMixed };

// Tells these weights from all others; making it reads a little of each file.
struct WeightIdentity {
  std::string name;   // of the checkpoint, usable in a file name; stays the same when the files change
  Hash value;         // changes when anything changes, and for a copy
  Hash content = {};  // of headers and a sample of pages: the same for a copy. May miss a change of a few values
};

// A source of weights. Names are those of loaders/checkpoint/v4_names.h: the official ones, with experts stacked.
class WeightSource {
 public:
  virtual ~WeightSource() = default;
  virtual const V4Config& config() const = 0;
  virtual bool has(std::string_view name) const = 0;
  // The type that get() returns; reads headers only, no weights.
  virtual TensorType type(std::string_view name) const { return get(name).type; }
  // Depends on how the checkpoint stores the weight, not on the type() in which it is served: serving changes no
  // number.
  virtual ActivationRounding activation_rounding(std::string_view name) const {
    return has_scale_plane(type(name).dtype) ? ActivationRounding::kFp8 : ActivationRounding::kNone;
  }
  // The values as they are stored, unchecked.
  virtual WeightView get(std::string_view name) const = 0;
  // Reads the values, the first time it is called, and throws Error naming tensor and place of a value that is not
  // valid. To be called before values of get() are used.
  virtual void check_values(std::string_view name) const { (void)name; }
  // Says that the values of `view` will not be read again soon, so that its pages may leave memory.
  virtual void release(const WeightView& view) const { (void)view; }
  // Whether `bytes` of a view are in a mapped file, and so may have to be read from disk.
  virtual bool is_mapped(std::span<const std::byte> bytes) const { return (void)bytes, false; }
  // Throws Error naming the file if one that views point into has changed.
  virtual void check_intact() const {}
  virtual std::optional<WeightIdentity> identity() const { return std::nullopt; }  // empty: not from files
};

}  // namespace v4rt
