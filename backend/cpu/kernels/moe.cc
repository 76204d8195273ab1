#include "ops/moe/moe.h"

#include <algorithm>
#include <array>
#include <iterator>

#include "backend/cpu/cpu_kernel.h"
#include "backend/cpu/kernels/experts.h"
#include "backend/cpu/kernels/support.h"
#include "backend/cpu/simd/dot.h"
#include "backend/cpu/simd/elementwise.h"
#include "ops/core/arith.h"

namespace v4rt {
namespace {

constexpr int64_t kChannels = 512;  // channels per task of elementwise parts

class SwigluKernel final : public CpuKernel {
 public:
  explicit SwigluKernel(const OpCall& call)
      : limit_(op_of<Swiglu>(call).limit),
        half_(call.outputs[0].shape[1]),
        bytes_(static_cast<int64_t>(simd::element_bytes(call.inputs[0].dtype))),
        fns_(simd::elementwise(call.inputs[0].dtype)) {}

  void run(const CpuArgs& args) const override {
    const int64_t parts = ceil_div(half_, kChannels);
    args.pool.for_ranges(args.step.n_rows() * parts, 10.0 * kChannels, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t t = i / parts, first = i % parts * kChannels;
        const std::byte* g = args.data<const std::byte>(0) + (2 * t * half_ + first) * bytes_;
        fns_.swiglu(g, g + half_ * bytes_, std::min(kChannels, half_ - first), limit_,
                    args.data<std::byte>(1) + (t * half_ + first) * bytes_);
      }
    });
  }

 private:
  const float limit_;
  const int64_t half_, bytes_;
  const simd::ElementwiseFns& fns_;
};

// Products of picked rows of the first input with expert matrices [E, n, k], the second being the picks: what gate_up,
// down and down_parts share.
class ExpertKernel : public CpuKernel {
 public:
  // Scratch for several tokens, besides x and its order: sums of `matrices` products for each thread, and `more`
  // floats.
  struct Needs {
    int threads, matrices;
    int64_t more = 0;
    int64_t first = 0;  // the stack's first expert
  };
  ExpertKernel(const TensorType& x, const TensorType& ids, const TensorType& weight, int64_t x_rows,
               const simd::DotFns& dot, const Needs& needs)
      : first_(needs.first),
        experts_(weight.shape[0]),
        n_(weight.shape[1]),
        k_(weight.shape[2]),
        chosen_(ids.shape[1]),
        x_type_(x.dtype),
        bytes_(static_cast<int64_t>(simd::element_bytes(x.dtype))),
        dot_(dot),
        fns_(simd::elementwise(x.dtype)),
        gathered_(dot_.row_tile > 1 ? Experts::most_rows(ids.shape.elements(), experts_, dot_.row_tile) : 0),
        packed_(std::max(dot_.packed_floats(std::max(x_rows, gathered_), k_),
                         std::min(ids.shape[0], kFewTokens) * chosen_ * dot_.packed_floats(1, k_))),
        list_(packed_ + Experts::words(ids.shape.elements(), experts_)),
        more_(whole_lines(list_ + gathered_)),
        sums_(whole_lines(more_ + needs.more)) {
    const int64_t sums = ids.shape[0] > 1 ? needs.threads * needs.matrices * dot_.matrix_floats() : 0;
    scratch_bytes = static_cast<size_t>(sums_ + sums) * sizeof(float);
  }

 protected:
  // The products of each pick with its expert's matrices, arguments `weights`, handed over a part at a time as
  // store(pick, part, products). The picks of a token share a row (`per_token`) or have one each.
  template <size_t kMatrices, class Store>
  void multiply_picks(const CpuArgs& args, const std::array<size_t, kMatrices>& weights, bool per_token,
                      const Store& store) const {
    Experts experts = sorted(args);
    if (experts.active() == 0) return;
    if (alone(args, experts)) {
      run_alone(args, experts, weights, per_token, store);
    } else {
      run_together(args, experts, weights, per_token, store);
    }
  }

  // A row of x in the form the products want, after pack_row; an F32 row of whole units is read in place.
  bool in_place() const { return x_type_ == DType::kF32 && k_ % 8 == 0; }
  float* packed_row(const CpuArgs& args, int64_t row) const {
    return args.scratch<float>() + row * dot_.packed_floats(1, k_);
  }
  void pack_row(const CpuArgs& args, int64_t row) const {
    const std::byte* x = args.data<const std::byte>(0) + row * k_ * bytes_;
    if (!in_place()) dot_.pack(x, k_, k_, nullptr, 1, 0, 1, packed_row(args, row));
  }
  simd::Packed row_of(const CpuArgs& args, int64_t row) const {
    if (in_place()) return {.data = args.data<const float>(0) + row * k_, .rows = 1, .k = k_};
    return dot_.packed(packed_row(args, row), 1, k_);
  }

  Experts sorted(const CpuArgs& args) const {
    const std::span<const int32_t> live(args.data<const int32_t>(1), static_cast<size_t>(args.step.n_rows() * chosen_));
    return {reinterpret_cast<int32_t*>(args.scratch<float>() + packed_), live, chosen_, first_, experts_};
  }

  // The outputs of a task.
  struct Part {
    int64_t group, groups;  // of sixteen outputs
    int64_t first, n;       // outputs
  };
  int64_t parts(int64_t groups) const { return ceil_div(n_, 16 * groups); }
  Part part(int64_t index, int64_t groups) const {
    const int64_t group = index * groups;
    return {group, std::min(groups, ceil_div(n_, 16) - group), 16 * group, std::min(16 * groups, n_ - 16 * group)};
  }
  double part_work(int64_t groups, double rows) const { return 16.0 * static_cast<double>(groups * k_) * rows; }
  float* more(const CpuArgs& args) const { return args.scratch<float>() + more_; }

  const int64_t first_, experts_, n_, k_, chosen_;
  const DType x_type_;
  const int64_t bytes_;
  const simd::DotFns& dot_;
  const simd::ElementwiseFns& fns_;

 private:
  static constexpr int64_t kFewTokens = 16, kFewPicks = 4;  // of an expert, on average

  // Whether rows are packed one by one, to be multiplied a few at a time: as integers they are so fast that weights
  // come from memory no sooner.
  bool alone(const CpuArgs& args, const Experts& experts) const {
    const int64_t tokens = args.step.n_rows();
    return tokens == 1 || (dot_.integers && tokens <= kFewTokens && tokens * chosen_ <= kFewPicks * experts.active());
  }

  template <size_t kMatrices, class Store>
  void run_alone(const CpuArgs& args, const Experts& experts, const std::array<size_t, kMatrices>& weights,
                 bool per_token, const Store& store) const {
    constexpr int64_t kGroups = simd::kVectorGroups;
    const int64_t tokens = args.step.n_rows(), n_parts = parts(kGroups);
    args.pool.for_ranges(per_token ? tokens : tokens * chosen_, static_cast<double>(k_) / 4,
                         [&](int64_t begin, int64_t end) {
                           for (; begin < end; ++begin) pack_row(args, begin);
                         });
    const double work = kMatrices * part_work(kGroups, 1);
    args.pool.for_ranges(experts.active() * n_parts, work, [&](int64_t begin, int64_t end) {
      for (; begin < end; ++begin) {
        const int64_t active = begin / n_parts;
        const Part p = part(begin % n_parts, kGroups);
        const std::span<const int32_t> picks = experts.picks(active);
        for (size_t first = 0; first < picks.size(); first += static_cast<size_t>(dot_.few_rows)) {
          const auto some =
              picks.subspan(first).first(std::min(picks.size() - first, static_cast<size_t>(dot_.few_rows)));
          simd::Packed x[simd::kFewRows];
          for (size_t i = 0; i < some.size(); ++i) x[i] = row_of(args, per_token ? some[i] / chosen_ : some[i]);
          alignas(64) float y[kMatrices][simd::kFewRows * 16 * kGroups];
          for (size_t m = 0; m < kMatrices; ++m) {
            const simd::Matrix w = simd::matrix_of(args[weights[m]], experts.expert(active));
            dot_.lone(w, p.group, p.groups, x, std::ssize(some), y[m]);
          }
          for (size_t i = 0; i < some.size(); ++i) {
            std::array<const float*, kMatrices> products{};
            for (size_t m = 0; m < kMatrices; ++m) products[m] = y[m] + i * static_cast<size_t>(16 * p.groups);
            store(some[i], p, products);
          }
        }
      }
    });
  }

  template <size_t kMatrices, class Store>
  void run_together(const CpuArgs& args, Experts& experts, const std::array<size_t, kMatrices>& weights, bool per_token,
                    const Store& store) const {
    const int64_t picks = args.step.n_rows() * chosen_, n_parts = parts(simd::kMatrixGroups);
    const simd::Packed x = rows_of(args, per_token ? args.step.n_rows() : picks, per_token, experts);
    const double rows = static_cast<double>(picks) / static_cast<double>(experts.active());
    const double work = kMatrices * part_work(simd::kMatrixGroups, rows);
    args.pool.for_ranges(experts.active() * n_parts, work, [&](int64_t begin, int64_t end, int worker) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t active = i / n_parts;
        const Part p = part(i % n_parts, simd::kMatrixGroups);
        const std::span<const int32_t> of = experts.picks(active), index = per_token ? experts.tokens(active) : of;
        for (int64_t first = 0; first < std::ssize(of); first += dot_.most_rows) {
          const int64_t n = std::min(dot_.most_rows, std::ssize(of) - first);
          std::array<const float*, kMatrices> products{};
          for (size_t m = 0; m < kMatrices; ++m) {
            float* y = sums(args, static_cast<int>(kMatrices) * worker + static_cast<int>(m));
            const simd::Matrix w = simd::matrix_of(args[weights[m]], experts.expert(active));
            multiply(w, p.group, p.groups, x, experts, active, index, first, n, y);
            products[m] = y;
          }
          for (int64_t row = 0; row < n; ++row) {
            store(of[static_cast<size_t>(first + row)], p, products);
            for (const float*& y : products) y += 16 * p.groups;
          }
        }
      }
    });
  }

  // The `rows` rows of x, one per token or one per pick, in the form the products want: in order, or expert by expert
  // if they want row tiles.
  simd::Packed rows_of(const CpuArgs& args, int64_t rows, bool per_token, Experts& experts) const {
    const std::byte* x = args.data<const std::byte>(0);
    float* packed = args.scratch<float>();
    int32_t* list = nullptr;
    if (dot_.row_tile > 1) {
      list = reinterpret_cast<int32_t*>(args.scratch<float>() + list_);
      rows = experts.gather(per_token, dot_.row_tile, list);
    }
    for_row_tiles(args.pool, dot_, rows, k_,
                  [&](int64_t begin, int64_t end) { dot_.pack(x, k_, k_, list, rows, begin, end, packed); });
    return dot_.packed(packed, rows, k_);
  }

  // Products of `n` rows of an active expert, starting with its pick or token index[first].
  void multiply(const simd::Matrix& w, int64_t group, int64_t groups, const simd::Packed& x, const Experts& experts,
                int64_t active, std::span<const int32_t> index, int64_t first, int64_t n, float* y) const {
    if (dot_.row_tile > 1) return dot_.matrix(w, group, groups, x, nullptr, experts.first_row(active) + first, n, y);
    dot_.matrix(w, group, groups, x, index.data() + first, 0, n, y);
  }

  float* sums(const CpuArgs& args, int index) const {
    return args.scratch<float>() + sums_ + index * dot_.matrix_floats();
  }

  const int64_t gathered_;                     // rows, at most
  const int64_t packed_, list_, more_, sums_;  // floats of scratch, and what begins after them
};

class MoeGateUpKernel final : public ExpertKernel {
 public:
  MoeGateUpKernel(const OpCall& call, const simd::DotFns& dot, int threads)
      : ExpertKernel(call.inputs[0], call.inputs[1], call.inputs[3], call.inputs[0].shape[0], dot,
                     {.threads = threads, .matrices = 2, .first = op_of<MoeGateUp>(call).first}),
        limit_(op_of<MoeGateUp>(call).limit),
        output_(call.inputs.size()) {}

  void run(const CpuArgs& args) const override {
    const auto store = [&](int64_t pick, const Part& p, const std::array<const float*, 2>& y) {
      fns_.swiglu_wide(y[0], y[1], p.n, limit_, args.data<const float>(2)[pick],
                       args.data<std::byte>(output_) + (pick * n_ + p.first) * bytes_);
    };
    multiply_picks<2>(args, {3, 4}, true, store);
  }

 private:
  const float limit_;
  const size_t output_;  // argument
};

// The outputs of the experts in a range of a stack.
class MoeDownPartsKernel final : public ExpertKernel {
 public:
  MoeDownPartsKernel(const OpCall& call, const simd::DotFns& dot, int threads)
      : ExpertKernel(call.inputs[0], call.inputs[1], call.inputs[2], call.inputs[1].shape.elements(), dot,
                     {.threads = threads, .matrices = 1, .first = op_of<MoeDownParts>(call).first}),
        output_(call.inputs.size()) {}

  void run(const CpuArgs& args) const override {
    const auto store = [&](int64_t pick, const Part& p, const std::array<const float*, 1>& y) {
      fns_.narrow(y[0], p.n, args.data<std::byte>(output_) + (pick * n_ + p.first) * bytes_);
    };
    multiply_picks<1>(args, {2}, false, store);
  }

 private:
  const size_t output_;  // argument
};

// y = round(sum over slots of parts [T, k, d] + shared): the sum of each token, in the order of its slots.
struct SlotSum {
  int64_t k, d, bytes;  // bytes of an element
  const simd::ElementwiseFns& fns;

  void run(const CpuArgs& args, const std::byte* parts, const std::byte* shared, std::byte* y) const {
    const int64_t pieces = ceil_div(d, kChannels);
    const double work = static_cast<double>(kChannels * k) / 2;
    args.pool.for_ranges(args.step.n_rows() * pieces, work, [&](int64_t begin, int64_t end) {
      for (; begin < end; ++begin) {
        const int64_t t = begin / pieces, first = begin % pieces * kChannels, n = std::min(kChannels, d - first);
        alignas(64) float sum[kChannels] = {}, part[kChannels];
        for (int64_t s = 0; s < k; ++s) {
          fns.widen(parts + ((t * k + s) * d + first) * bytes, n, part);
          fns.add_rounded(part, n, sum);
        }
        const int64_t at = (t * d + first) * bytes;
        fns.add_wide(sum, shared + at, n, y + at);
      }
    });
  }
};

class MoeSumKernel final : public CpuKernel {
 public:
  explicit MoeSumKernel(const OpCall& call)
      : sum_{call.inputs[0].shape[1], call.inputs[0].shape[2],
             static_cast<int64_t>(simd::element_bytes(call.inputs[0].dtype)), simd::elementwise(call.inputs[0].dtype)} {
  }

  void run(const CpuArgs& args) const override {
    sum_.run(args, args.data<const std::byte>(0), args.data<const std::byte>(1), args.data<std::byte>(2));
  }

 private:
  const SlotSum sum_;
};

// One token's experts are added up as they come; those of several tokens come in another order, and become parts first.
class MoeDownKernel final : public ExpertKernel {
 public:
  MoeDownKernel(const OpCall& call, const simd::DotFns& dot, int threads)
      : ExpertKernel(call.inputs[0], call.inputs[1], call.inputs[2], call.inputs[1].shape.elements(), dot,
                     {.threads = threads, .matrices = 1, .more = part_floats(call)}),
        sum_{chosen_, n_, bytes_, fns_} {}

  void run(const CpuArgs& args) const override {
    if (args.step.n_rows() == 1) return run_one(args);
    if (args.step.n_rows() == 0) return;
    auto* parts = reinterpret_cast<std::byte*>(more(args));
    multiply_picks<1>(args, {2}, false, [&](int64_t pick, const Part& p, const std::array<const float*, 1>& y) {
      fns_.narrow(y[0], p.n, parts + (pick * n_ + p.first) * bytes_);
    });
    sum_.run(args, parts, args.data<const std::byte>(3), args.data<std::byte>(4));
  }

 private:
  static int64_t part_floats(const OpCall& call) {
    if (call.inputs[1].shape[0] == 1) return 0;
    const auto bytes = static_cast<int64_t>(simd::element_bytes(call.inputs[0].dtype));
    return ceil_div(call.inputs[1].shape.elements() * call.inputs[2].shape[1] * bytes, 4);
  }

  void run_one(const CpuArgs& args) const {
    const int32_t* ids = args.data<const int32_t>(1);
    for (int64_t s = 0; s < chosen_; ++s) pack_row(args, s);
    constexpr int64_t kGroups = simd::kVectorGroups;
    args.pool.for_ranges(parts(kGroups), part_work(kGroups, static_cast<double>(chosen_)),
                         [&](int64_t begin, int64_t end) {
                           for (int64_t i = begin; i < end; ++i) {
                             const Part p = part(i, kGroups);
                             alignas(64) float y[16 * kGroups], sum[16 * kGroups] = {};
                             for (int64_t s = 0; s < chosen_; ++s) {
                               const simd::Packed x = row_of(args, s);
                               dot_.lone(simd::matrix_of(args[2], ids[s]), p.group, p.groups, &x, 1, y);
                               fns_.add_rounded(y, p.n, sum);
                             }
                             const int64_t at = p.first * bytes_;
                             fns_.add_wide(sum, args.data<const std::byte>(3) + at, p.n, args.data<std::byte>(4) + at);
                           }
                         });
  }

  const SlotSum sum_;
};

constexpr size_t kGateWeight = 3, kDownWeight = 2;  // inputs

template <simd::Library kLibrary>
Support gate_up_support(const OpCall& call, const CpuDevice& device) {
  if (op_of<MoeGateUp>(call).first != 0) return Support::no("a range of experts that does not begin with the first");
  return library_support<kGateWeight, kLibrary>(call, device);
}

template <simd::Library kLibrary>
constexpr CpuEntry gate_up_entry(std::string_view name, std::string (*version)()) {
  return {OpKind::kMoeGateUp, name, gate_up_support<kLibrary>, make_library<MoeGateUpKernel, kGateWeight, kLibrary>,
          version};
}
template <simd::Library kLibrary>
constexpr CpuEntry down_entry(std::string_view name, std::string (*version)()) {
  return {OpKind::kMoeDown, name, library_support<kDownWeight, kLibrary>,
          make_library<MoeDownKernel, kDownWeight, kLibrary>, version};
}

}  // namespace

const CpuEntry kCpuSwiglu{OpKind::kSwiglu, "cpu.swiglu", any_call, make_kernel<SwigluKernel>};
const CpuEntry kCpuMoeGateUp{OpKind::kMoeGateUp, "cpu.moe_gate_up.rows16", exact_support<kGateWeight>,
                             make_exact<MoeGateUpKernel, kGateWeight>};
const CpuEntry kCpuMoeGateUpEigen = gate_up_entry<simd::Library::kEigen>("cpu.moe_gate_up.eigen", eigen_version);
const CpuEntry kCpuMoeGateUpOnednn = gate_up_entry<simd::Library::kOnednn>("cpu.moe_gate_up.onednn", onednn_version);
const CpuEntry kCpuMoeGateUpOnednnBf16 =
    gate_up_entry<simd::Library::kOnednnBf16>("cpu.moe_gate_up.onednn_bf16", onednn_bf16_version);
const CpuEntry kCpuMoeDown{OpKind::kMoeDown, "cpu.moe_down.rows16", exact_support<kDownWeight>,
                           make_exact<MoeDownKernel, kDownWeight>};
const CpuEntry kCpuMoeDownEigen = down_entry<simd::Library::kEigen>("cpu.moe_down.eigen", eigen_version);
const CpuEntry kCpuMoeDownOnednn = down_entry<simd::Library::kOnednn>("cpu.moe_down.onednn", onednn_version);
const CpuEntry kCpuMoeDownOnednnBf16 =
    down_entry<simd::Library::kOnednnBf16>("cpu.moe_down.onednn_bf16", onednn_bf16_version);

const CpuEntry kCpuMoeDownParts{OpKind::kMoeDownParts, "cpu.moe_down_parts.rows16", exact_support<kDownWeight>,
                                make_exact<MoeDownPartsKernel, kDownWeight>};
const CpuEntry kCpuMoeSum{OpKind::kMoeSum, "cpu.moe_sum", any_call, make_kernel<MoeSumKernel>};

}  // namespace v4rt
