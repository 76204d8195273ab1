#pragma once

#include <functional>
#include <span>
#include <vector>

#include "backend/device.h"
#include "loaders/checkpoint/weight_source.h"
#include "ops/op.h"

namespace v4rt {

// Part of a weight that can be repacked on its own: its result is a contiguous range of the whole's.
struct WeightPiece {
  TensorType type;
  std::span<const std::byte> values, scales;
};

// `view` cut into such pieces, in order: the matrices of a stack, or the parts of a fused matrix that end on whole
// groups of 16 rows. Empty when there is no such cut and the parts have to be joined first.
std::vector<WeightPiece> repack_pieces(const WeightView& view);

// Some matrices of a stack [E, N, K]; throws Error(kUnsupported) for other shapes.
WeightView slice(const WeightView& view, const WeightRange& range);

// Copies weights to one device, piece by piece through staging buffers, so that there is never a second full copy.
class WeightCopier {
 public:
  explicit WeightCopier(Device& device) : device_(device), queue_(device.create_queue()) {}

  // `view` on the device in the layout of `type`. `repack` makes that layout; null when it is the view's own.
  Tensor copy(const WeightView& view, const TensorType& type, const OpPtr& repack);

  // The same bytes for the host, piece by piece in order; a piece is valid during the call only.
  using Take = std::function<void(std::span<const std::byte> values, std::span<const std::byte> scales)>;
  void read(const WeightView& view, const TensorType& type, const OpPtr& repack, const Take& take);

 private:
  struct Compiled {
    OpPtr op;
    TensorType from;
    std::unique_ptr<Kernel> kernel;
  };

  using TakePiece = std::function<void(const WeightPiece& piece, const TensorType& type)>;
  void for_pieces(const WeightView& view, Layout layout, const TakePiece& take);
  void repack_piece(const WeightPiece& piece, const OpPtr& repack, const Tensor& to);
  const Kernel& kernel(const OpPtr& repack, const TensorType& from, const TensorType& to);
  Tensor source(const WeightPiece& piece);
  Tensor made(const TensorType& type);
  std::span<const std::byte> on_host(const BufferPtr& from, size_t bytes, std::vector<std::byte>& staging);

  Device& device_;
  std::unique_ptr<Queue> queue_;
  Compiled last_;  // pieces of a stack are alike
  BufferPtr staged_values_, staged_scales_, made_values_, made_scales_, scratch_;
  std::vector<std::byte> host_values_, host_scales_;
};

}  // namespace v4rt
