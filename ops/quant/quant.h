#pragma once

#include <span>

#include "ops/op.h"

namespace v4rt {

// Rounds activations to what the release's FP8 or FP4 path would have kept, and leaves them as numbers (spec
// section 3.4): per row of the last dimension, per block of `block` among the first `dims` elements, x =
// em_fake_fp8|fp4(x, scale of the block's maximum). Elements past `dims` are copied. dims = 0 means all. A short last
// block is a block of its own.
// in: x activation [T, ..., n].  out: as x. (The scalar row functions below are shared with the references of the cache
// ops.)
enum class QuantGrid : uint8_t { kFp8, kFp4 };

void fake_quant_row(std::span<float> x, QuantGrid grid, size_t block);
void hadamard_row(std::span<float> x);

class FakeQuant final : public OpOf<OpKind::kFakeQuant> {
 public:
  FakeQuant(QuantGrid grid, int block, int dims = 0) : grid(grid), block(block), dims(dims) {}
  const QuantGrid grid;
  const int block, dims;
  std::string describe() const override;
  Input input(size_t) const override { return {}; }
  std::vector<TensorType> infer(std::span<const TensorType> in) const override;
  void reference(RefContext& context) const override;

 protected:
  Cost work(std::span<const TensorType> in, const Step& step) const override;
};

// y = n^-0.5 * H x over the last dimension n, a power of two; H[i][j] = (-1)^popcount(i & j) (spec section 7.5).
// Butterfly of stages h = 1, 2, 4, ...: (a, b) at distance h -> (a + b, a - b); one product with fp32(n^-0.5) at the
// end.
// in: x activation [T, ..., n].  out: as x.
class Hadamard final : public OpOf<OpKind::kHadamard> {
 public:
  std::string describe() const override;
  Input input(size_t) const override { return {}; }
  std::vector<TensorType> infer(std::span<const TensorType> in) const override;
  void reference(RefContext& context) const override;

 protected:
  Cost work(std::span<const TensorType> in, const Step& step) const override;
};

}  // namespace v4rt
