#include "backend/cpu/simd/route.h"

#include <algorithm>

#include "backend/cpu/cpu_kernel.h"
#include "backend/cpu/kernels/support.h"
#include "ops/core/exact_math.h"
#include "ops/moe/moe.h"

namespace v4rt {
namespace {

constexpr int64_t kMaxExperts = 4096;  // their scores are on the stack
constexpr int kMaxChosen = 64;

// Ascending ids with weights s[e] / sum * scale.
void write_route(int32_t* ids, int k, const float* s, float scale, float* weights) {
  std::sort(ids, ids + k);
  float sum = 0;
  for (int i = 0; i < k; ++i) sum += s[ids[i]];
  for (int i = 0; i < k; ++i) weights[i] = em_flush(em_div(s[ids[i]], sum)) * scale;
}

// The k largest of s + bias, the lower index first among equals.
void choose(const float* s, const float* bias, int64_t n, int k, int32_t* ids) {
  em_uint best[kMaxChosen];
  int found = 0;
  for (int64_t e = 0; e < n; ++e) {
    const em_uint value = em_order(s[e] + bias[e]);
    if (found == k && !(value > best[k - 1])) continue;
    int at = found < k ? found++ : k - 1;
    for (; at > 0 && value > best[at - 1]; --at) {
      best[at] = best[at - 1];
      ids[at] = ids[at - 1];
    }
    best[at] = value;
    ids[at] = static_cast<int32_t>(e);
  }
}

class RouteTopKKernel final : public CpuKernel {
 public:
  explicit RouteTopKKernel(const OpCall& call)
      : k_(op_of<RouteTopK>(call).k), scale_(op_of<RouteTopK>(call).scale), experts_(call.inputs[0].shape[1]) {}

  void run(const CpuArgs& args) const override {
    args.pool.for_ranges(args.step.n_rows(), 10.0 * static_cast<double>(experts_), [&](int64_t begin, int64_t end) {
      float s[kMaxExperts];
      for (int64_t t = begin; t < end; ++t) {
        int32_t* ids = args.data<int32_t>(2) + t * k_;
        simd::router_scores(args.data<const float>(0) + t * experts_, experts_, s);
        choose(s, args.data<const float>(1), experts_, k_, ids);
        write_route(ids, k_, s, scale_, args.data<float>(3) + t * k_);
      }
    });
  }

 private:
  const int k_;
  const float scale_;
  const int64_t experts_;
};

class RouteHashKernel final : public CpuKernel {
 public:
  explicit RouteHashKernel(const OpCall& call)
      : k_(op_of<RouteHash>(call).k), scale_(op_of<RouteHash>(call).scale), experts_(call.inputs[0].shape[1]) {}

  void run(const CpuArgs& args) const override {
    args.pool.for_ranges(args.step.n_rows(), 10.0 * static_cast<double>(experts_), [&](int64_t begin, int64_t end) {
      float s[kMaxExperts];
      for (int64_t t = begin; t < end; ++t) {
        int32_t* ids = args.data<int32_t>(3) + t * k_;
        simd::router_scores(args.data<const float>(0) + t * experts_, experts_, s);
        std::copy_n(args.data<const int32_t>(1) + int64_t{args.data<const int32_t>(2)[t]} * k_, k_, ids);
        write_route(ids, k_, s, scale_, args.data<float>(4) + t * k_);
      }
    });
  }

 private:
  const int k_;
  const float scale_;
  const int64_t experts_;
};

Support supports(const OpCall& call, const CpuDevice&) {
  if (call.inputs[0].shape[1] > kMaxExperts || call.outputs[0].shape[1] > kMaxChosen) {
    return Support::no("at most 4096 experts of which 64 are chosen");
  }
  return {};
}

}  // namespace

const CpuEntry kCpuRouteTopK{OpKind::kRouteTopK, "cpu.route_topk", supports, make_kernel<RouteTopKKernel>};
const CpuEntry kCpuRouteHash{OpKind::kRouteHash, "cpu.route_hash", supports, make_kernel<RouteHashKernel>};

}  // namespace v4rt
