#include "ops/layout/repack.h"

#include <algorithm>
#include <cstring>

#include "backend/cpu/cpu_kernel.h"
#include "backend/cpu/kernels/support.h"
#include "ops/core/arith.h"

namespace v4rt {
namespace {

constexpr int64_t kGroup = 16;

// Sixteen rows (`n` of them exist) of row_bytes bytes each, interleaved by units of T; missing rows are zero.
template <class T>
void interleave_group(const uint8_t* from, int64_t n, int64_t row_bytes, T* to) {
  constexpr int64_t kUnit = sizeof(T);
  const int64_t whole = row_bytes / kUnit, rest = row_bytes % kUnit;
  if (n < kGroup) std::fill_n(to, ceil_div(row_bytes, kUnit) * kGroup, T{0});
  constexpr int64_t kTile = 64 / kUnit;  // of one cache line per row
  for (int64_t u = 0; u < whole; u += kTile) {
    const int64_t units = std::min(kTile, whole - u);
    for (int64_t r = 0; r < n; ++r) {
      for (int64_t i = u; i < u + units; ++i) std::memcpy(to + i * kGroup + r, from + r * row_bytes + i * kUnit, kUnit);
    }
  }
  if (rest == 0) return;
  for (int64_t r = 0; r < n; ++r) {
    T last = 0;
    std::memcpy(&last, from + r * row_bytes + whole * kUnit, static_cast<size_t>(rest));
    to[whole * kGroup + r] = last;
  }
}

class RepackKernel final : public CpuKernel {
 public:
  explicit RepackKernel(const OpCall& call) : type_(call.inputs[0]) {}

  void run(const CpuArgs& args) const override {
    const int64_t n = type_.shape[-2], k = type_.shape[-1];
    const int64_t row_bytes = info(type_.dtype).row_bytes(k);
    interleave<uint32_t>(args, args.data<const uint8_t>(0), n, row_bytes, args.data<uint32_t>(1));
    if (type_.dtype == DType::kFp4) {
      auto* scales = reinterpret_cast<uint8_t*>(args[1].scales->host());
      interleave<uint8_t>(args, args[0].scale_data(), n, ceil_div(k, info(type_.dtype).scale_cols), scales);
    } else if (type_.dtype == DType::kFp8) {
      std::memcpy(args[1].scales->host(), args[0].scale_data(), type_.scale_bytes());
    }
  }

 private:
  // Every matrix of the stack, group by group.
  template <class T>
  void interleave(const CpuArgs& args, const uint8_t* from, int64_t n, int64_t row_bytes, T* to) const {
    const int64_t matrices = type_.shape.rank() == 3 ? type_.shape[0] : 1, groups = ceil_div(n, kGroup);
    const int64_t units = ceil_div(row_bytes, sizeof(T));
    args.pool.for_ranges(matrices * groups, static_cast<double>(row_bytes) * kGroup, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t row = i / groups * n + i % groups * kGroup, live = std::min(kGroup, n - i % groups * kGroup);
        interleave_group(from + row * row_bytes, live, row_bytes, to + i * units * kGroup);
      }
    });
  }

  const TensorType type_;
};

Support supports(const OpCall& call, const CpuDevice&) {
  if (call.inputs[0].layout != Layout::kRows) return Support::no("the weight must be row-major");
  if (op_of<Repack>(call).layout != Layout::kRows16) return Support::no("it makes rows16 only");
  return {};
}

}  // namespace

const CpuEntry kCpuRepack{OpKind::kRepack, "cpu.repack", supports, make_kernel<RepackKernel>};

}  // namespace v4rt
