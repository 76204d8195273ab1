#pragma once

#include <span>
#include <vector>

#include "backend/device.h"
#include "loaders/weight_source.h"

namespace v4rt {

// Part of a weight that can be repacked on its own: its result is a contiguous range of the whole's.
struct WeightPiece {
  TensorType type;
  std::span<const std::byte> values, scales;
};

// `view` cut into such pieces, in order: the matrices of a stack, or the parts of a fused matrix that end on whole
// groups of 16 rows. Empty when there is no such cut and the parts have to be joined first.
std::vector<WeightPiece> repack_pieces(const WeightView& view);

// Brings weights to one device. Works through staging buffers of one piece, so that no second full copy ever exists.
class WeightCopier {
 public:
  explicit WeightCopier(Device& device) : device_(device), queue_(device.create_queue()) {}

  // `view` on the device in the layout of `type`. `repack` makes that layout; null when it is the view's own.
  Tensor copy(const WeightView& view, const TensorType& type, const OpPtr& repack);

 private:
  struct Compiled {
    OpPtr op;
    TensorType from;
    std::unique_ptr<Kernel> kernel;
  };

  void repack_piece(const WeightPiece& piece, const TensorType& type, const OpPtr& repack, const Tensor& whole,
                    size_t at, size_t scale_at);
  const Kernel& kernel(const OpPtr& repack, const TensorType& from, const TensorType& to);
  Tensor source(const WeightPiece& piece);
  Tensor target(const TensorType& type, const Tensor& whole, size_t at, size_t scale_at);

  Device& device_;
  std::unique_ptr<Queue> queue_;
  Compiled last_;  // pieces of a stack are alike
  BufferPtr staged_values_, staged_scales_, made_values_, made_scales_, scratch_;
};

}  // namespace v4rt
