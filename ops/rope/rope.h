#pragma once

#include <span>
#include <vector>

#include "ops/op.h"

namespace v4rt {

// One set of rotary frequencies (spec section 6).
struct RopeTable {
  int dims = 64;  // R, even: the last R components rotate, in interleaved pairs
  float theta = 10000;
  float factor = 1;  // YaRN; no scaling when original_context is 0 or factor is 1
  int original_context = 0;
  float beta_fast = 32, beta_slow = 1;

  // R / 2 of them, every step in f32 as in the release: theta^(2i/R), its inverse, YaRN's blend. Computed in doubles, a
  // third of them would differ by 1 to 3 ulp, which is a tenth of a radian at position 10^6.
  std::vector<float> frequencies() const;
  std::string describe() const;
  bool operator==(const RopeTable&) const = default;
};

// The scalar rotation of one vector's tail, before rounding. `sign` is 1, or -1 for the inverse.
void rotate_tail(std::span<float> x, std::span<const float> frequencies, int32_t position, float sign);

// Rotates pair i (a, b) of the last R components by the angle float(position) * freq[i]:
// a' = fma(a, cos, -(b * sin)), b' = fma(a, sin, b * cos); inverse: sin negated. cos and sin are em_cos, em_sin of the
// rounded fp32 product. The other components are copied.
// in: x activation [T, D] or [T, H, D].  out: as x.
class RopeTail final : public OpOf<OpKind::kRopeTail> {
 public:
  RopeTail(const RopeTable& table, bool inverse) : table(table), inverse(inverse), frequencies(table.frequencies()) {}
  const RopeTable table;
  const bool inverse;
  const std::vector<float> frequencies;
  std::string describe() const override;
  Input input(size_t) const override { return {}; }
  std::vector<TensorType> infer(std::span<const TensorType> in) const override;
  void reference(RefContext& context) const override;

 protected:
  Cost work(std::span<const TensorType> in, const Step& step) const override;
};

}  // namespace v4rt
