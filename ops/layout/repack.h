#pragma once

#include "ops/op.h"

namespace v4rt {

// The same weight in another layout (dtype.h). Runs once, when weights are bound; ignores Step.
// in: w [N, K] or [E, N, K] in Layout::kRows.  out: the same numbers in `layout`, which is another.
class Repack final : public OpOf<OpKind::kRepack> {
 public:
  explicit Repack(Layout layout) : layout(layout) {}
  const Layout layout;
  std::string describe() const override;
  Input input(size_t) const override { return {.role = Role::kMatrix}; }
  std::vector<TensorType> infer(std::span<const TensorType> in) const override;
  void reference(RefContext& context) const override;

 protected:
  Cost work(std::span<const TensorType> in, const Step& step) const override;
};

}  // namespace v4rt
