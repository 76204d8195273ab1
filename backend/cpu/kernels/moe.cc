#include "ops/moe/moe.h"

#include <algorithm>
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

// Products of picked rows with expert matrices [E, n, k]: what gate_up and down share.
class ExpertKernel : public CpuKernel {
 public:
  // What several tokens need in scratch besides x and its order: sums of `matrices` products for each thread, and
  // `more` floats.
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
        packed_(std::max(dot_.packed_floats(std::max(x_rows, gathered_), k_), chosen_ * dot_.packed_floats(1, k_))),
        list_(packed_ + Experts::words(ids.shape.elements(), experts_)),
        more_(whole_lines(list_ + gathered_)),
        sums_(whole_lines(more_ + needs.more)) {
    const int64_t sums = ids.shape[0] > 1 ? needs.threads * needs.matrices * dot_.matrix_floats() : 0;
    scratch_bytes = static_cast<size_t>(sums_ + sums) * sizeof(float);
  }

 protected:
  // The rows of x as the products want them; F32 rows of whole units can be read where they lie, one at a time.
  simd::Packed row_of(const CpuArgs& args, const std::byte* x, int64_t row, int64_t place) const {
    if (x_type_ == DType::kF32 && k_ % 8 == 0)
      return {.data = reinterpret_cast<const float*>(x) + row * k_, .rows = 1, .k = k_};
    float* packed = args.scratch<float>() + place * dot_.packed_floats(1, k_);
    dot_.pack(x + row * k_ * bytes_, k_, k_, nullptr, 1, 0, 1, packed);
    return dot_.packed(packed, 1, k_);
  }

  // The rows of x that picks multiply, of which there are `rows`, one per token or one per pick: as they are, or
  // expert by expert where the products want row tiles.
  simd::Packed rows_of(const CpuArgs& args, const std::byte* x, int64_t rows, bool per_token, Experts& experts) const {
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

  // Products of `n` rows of the active expert, from the one on that its pick or token index[first] is.
  void multiply(const simd::Matrix& w, int64_t group, int64_t groups, const simd::Packed& x, const Experts& experts,
                int64_t active, std::span<const int32_t> index, int64_t first, int64_t n, float* y) const {
    if (dot_.row_tile > 1) return dot_.matrix(w, group, groups, x, nullptr, experts.first_row(active) + first, n, y);
    dot_.matrix(w, group, groups, x, index.data() + first, 0, n, y);
  }

  Experts sorted(const CpuArgs& args, const int32_t* ids) const {
    const std::span<const int32_t> live(ids, static_cast<size_t>(args.step.n_rows() * chosen_));
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
  float* sums(const CpuArgs& args, int index) const {
    return args.scratch<float>() + sums_ + index * dot_.matrix_floats();
  }

  // Of the stack, of pick `pick`; -1 when it is another range's.
  int64_t expert_of(const int32_t* ids, int64_t pick) const {
    const int64_t expert = ids[pick] - first_;
    return expert >= 0 && expert < experts_ ? expert : -1;
  }

  const int64_t first_, experts_, n_, k_, chosen_;
  const DType x_type_;
  const int64_t bytes_;
  const simd::DotFns& dot_;
  const simd::ElementwiseFns& fns_;

 private:
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
    if (args.step.n_rows() == 1) return run_one(args);
    if (args.step.n_rows() > 1) run_sorted(args);
  }

 private:
  void run_one(const CpuArgs& args) const {
    constexpr int64_t kGroups = simd::kVectorGroups;
    const simd::Packed x = row_of(args, args.data<const std::byte>(0), 0, 0);
    const int32_t* ids = args.data<const int32_t>(1);
    args.pool.for_ranges(chosen_ * parts(kGroups), 2 * part_work(kGroups, 1), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t slot = i / parts(kGroups);
        const Part p = part(i % parts(kGroups), kGroups);
        alignas(64) float g[16 * kGroups], u[16 * kGroups];
        const int64_t expert = expert_of(ids, slot);
        if (expert < 0) continue;
        dot_.vector(simd::matrix_of(args[3], expert), p.group, p.groups, x, 0, g);
        dot_.vector(simd::matrix_of(args[4], expert), p.group, p.groups, x, 0, u);
        store(args, slot, p, g, u);
      }
    });
  }

  void run_sorted(const CpuArgs& args) const {
    const int64_t rows = args.step.n_rows(), n_parts = parts(simd::kMatrixGroups);
    Experts experts = sorted(args, args.data<const int32_t>(1));
    if (experts.active() == 0) return;
    const simd::Packed x = rows_of(args, args.data<const std::byte>(0), rows, true, experts);
    const double picks = static_cast<double>(rows * chosen_) / static_cast<double>(experts.active());
    args.pool.for_ranges(experts.active() * n_parts, 2 * part_work(simd::kMatrixGroups, picks),
                         [&](int64_t begin, int64_t end, int worker) {
                           float *g = sums(args, 2 * worker), *u = sums(args, 2 * worker + 1);
                           for (int64_t i = begin; i < end; ++i)
                             add_part(args, x, experts, i / n_parts, part(i % n_parts, simd::kMatrixGroups), g, u);
                         });
  }

  void add_part(const CpuArgs& args, const simd::Packed& x, const Experts& experts, int64_t active, const Part& p,
                float* g, float* u) const {
    const simd::Matrix gate = simd::matrix_of(args[3], experts.expert(active)),
                       up = simd::matrix_of(args[4], experts.expert(active));
    const auto picks = experts.picks(active), tokens = experts.tokens(active);
    const auto n = static_cast<int64_t>(picks.size());
    for (int64_t first = 0; first < n; first += dot_.most_rows) {
      const int64_t chunk = std::min(dot_.most_rows, n - first);
      multiply(gate, p.group, p.groups, x, experts, active, tokens, first, chunk, g);
      multiply(up, p.group, p.groups, x, experts, active, tokens, first, chunk, u);
      for (int64_t i = 0; i < chunk; ++i) {
        store(args, picks[static_cast<size_t>(first + i)], p, g + i * 16 * p.groups, u + i * 16 * p.groups);
      }
    }
  }

  void store(const CpuArgs& args, int64_t pick, const Part& p, const float* g, const float* u) const {
    fns_.swiglu_wide(g, u, p.n, limit_, args.data<const float>(2)[pick],
                     args.tensors[output_].data<std::byte>() + (pick * n_ + p.first) * bytes_);
  }

  const float limit_;
  const size_t output_;  // argument
};

class MoeDownKernel final : public ExpertKernel {
 public:
  MoeDownKernel(const OpCall& call, const simd::DotFns& dot, int threads)
      : ExpertKernel(call.inputs[0], call.inputs[1], call.inputs[2], call.inputs[1].shape.elements(), dot,
                     {.threads = threads, .matrices = 1, .more = products(call)}) {}

  void run(const CpuArgs& args) const override {
    if (args.step.n_rows() == 1) return run_one(args);
    if (args.step.n_rows() > 1) run_sorted(args);
  }

 private:
  // Of all picks, which are added up in the order of the slots when the last one is there.
  static int64_t products(const OpCall& call) {
    return call.inputs[1].shape[0] > 1 ? call.inputs[1].shape.elements() * call.inputs[2].shape[1] : 0;
  }

  void run_one(const CpuArgs& args) const {
    const std::byte* x = args.data<const std::byte>(0);
    const int32_t* ids = args.data<const int32_t>(1);
    simd::Packed rows[kMaxChosen];
    for (int64_t s = 0; s < chosen_; ++s) rows[s] = row_of(args, x, s, s);
    constexpr int64_t kGroups = simd::kVectorGroups;
    args.pool.for_ranges(parts(kGroups), part_work(kGroups, static_cast<double>(chosen_)),
                         [&](int64_t begin, int64_t end) {
                           for (int64_t i = begin; i < end; ++i) {
                             const Part p = part(i, kGroups);
                             alignas(64) float y[16 * kGroups], sum[16 * kGroups] = {};
                             for (int64_t s = 0; s < chosen_; ++s) {
                               dot_.vector(simd::matrix_of(args[2], ids[s]), p.group, p.groups, rows[s], 0, y);
                               fns_.add_rounded(y, p.n, sum);
                             }
                             finish(args, 0, p.first, p.n, sum);
                           }
                         });
  }

  void run_sorted(const CpuArgs& args) const {
    const int64_t rows = args.step.n_rows(), picks = rows * chosen_, n_parts = parts(simd::kMatrixGroups);
    Experts experts = sorted(args, args.data<const int32_t>(1));
    const simd::Packed x = rows_of(args, args.data<const std::byte>(0), picks, false, experts);
    float* products = more(args);
    const double work =
        part_work(simd::kMatrixGroups, static_cast<double>(picks) / static_cast<double>(experts.active()));
    args.pool.for_ranges(experts.active() * n_parts, work, [&](int64_t begin, int64_t end, int worker) {
      float* y = sums(args, worker);
      for (int64_t i = begin; i < end; ++i)
        add_part(args, x, experts, i / n_parts, part(i % n_parts, simd::kMatrixGroups), y, products);
    });
    const int64_t pieces = ceil_div(n_, kChannels);
    args.pool.for_ranges(rows * pieces, static_cast<double>(kChannels * chosen_) / 2, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t t = i / pieces, first = i % pieces * kChannels, n = std::min(kChannels, n_ - first);
        alignas(64) float sum[kChannels] = {};
        for (int64_t s = 0; s < chosen_; ++s) fns_.add_rounded(products + (t * chosen_ + s) * n_ + first, n, sum);
        finish(args, t, first, n, sum);
      }
    });
  }

  void add_part(const CpuArgs& args, const simd::Packed& x, const Experts& experts, int64_t active, const Part& p,
                float* y, float* products) const {
    const simd::Matrix down = simd::matrix_of(args[2], experts.expert(active));
    const auto picks = experts.picks(active);
    const auto n = static_cast<int64_t>(picks.size());
    for (int64_t first = 0; first < n; first += dot_.most_rows) {
      const int64_t chunk = std::min(dot_.most_rows, n - first);
      multiply(down, p.group, p.groups, x, experts, active, picks, first, chunk, y);
      for (int64_t i = 0; i < chunk; ++i) {
        std::copy_n(y + i * 16 * p.groups, p.n, products + picks[static_cast<size_t>(first + i)] * n_ + p.first);
      }
    }
  }

  // y = round(sum + shared) for n channels from `first`.
  void finish(const CpuArgs& args, int64_t t, int64_t first, int64_t n, const float* sum) const {
    const int64_t at = (t * n_ + first) * bytes_;
    fns_.add_wide(sum, args.data<const std::byte>(3) + at, n, args.data<std::byte>(4) + at);
  }

 public:
  static constexpr int64_t kMaxChosen = 64;
};

// What each expert gives, for a range of a stack.
class MoeDownPartsKernel final : public ExpertKernel {
 public:
  MoeDownPartsKernel(const OpCall& call, const simd::DotFns& dot, int threads)
      : ExpertKernel(call.inputs[0], call.inputs[1], call.inputs[2], call.inputs[1].shape.elements(), dot,
                     {.threads = threads, .matrices = 1, .first = op_of<MoeDownParts>(call).first}),
        output_(call.inputs.size()) {}

  void run(const CpuArgs& args) const override {
    if (args.step.n_rows() == 1) return run_one(args);
    if (args.step.n_rows() > 1) run_sorted(args);
  }

 private:
  void run_one(const CpuArgs& args) const {
    constexpr int64_t kGroups = simd::kVectorGroups;
    const int32_t* ids = args.data<const int32_t>(1);
    for (int64_t slot = 0; slot < chosen_; ++slot) {
      const int64_t expert = expert_of(ids, slot);
      if (expert < 0) continue;
      const simd::Packed x = row_of(args, args.data<const std::byte>(0), slot, slot);
      args.pool.for_ranges(parts(kGroups), part_work(kGroups, 1), [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
          const Part p = part(i, kGroups);
          alignas(64) float y[16 * kGroups];
          dot_.vector(simd::matrix_of(args[2], expert), p.group, p.groups, x, 0, y);
          store(args, slot, p, y);
        }
      });
    }
  }

  void run_sorted(const CpuArgs& args) const {
    const int64_t picks = args.step.n_rows() * chosen_, n_parts = parts(simd::kMatrixGroups);
    Experts experts = sorted(args, args.data<const int32_t>(1));
    if (experts.active() == 0) return;
    const simd::Packed x = rows_of(args, args.data<const std::byte>(0), picks, false, experts);
    const double work =
        part_work(simd::kMatrixGroups, static_cast<double>(picks) / static_cast<double>(experts.active()));
    args.pool.for_ranges(experts.active() * n_parts, work, [&](int64_t begin, int64_t end, int worker) {
      float* y = sums(args, worker);
      for (int64_t i = begin; i < end; ++i) {
        const Part p = part(i % n_parts, simd::kMatrixGroups);
        const auto of = experts.picks(i / n_parts);
        const simd::Matrix down = simd::matrix_of(args[2], experts.expert(i / n_parts));
        for (int64_t first = 0; first < std::ssize(of); first += dot_.most_rows) {
          const int64_t chunk = std::min(dot_.most_rows, std::ssize(of) - first);
          multiply(down, p.group, p.groups, x, experts, i / n_parts, of, first, chunk, y);
          for (int64_t r = 0; r < chunk; ++r) store(args, of[static_cast<size_t>(first + r)], p, y + r * 16 * p.groups);
        }
      }
    });
  }

  void store(const CpuArgs& args, int64_t pick, const Part& p, const float* y) const {
    fns_.narrow(y, p.n, args.tensors[output_].data<std::byte>() + (pick * n_ + p.first) * bytes_);
  }

  const size_t output_;  // argument
};

class MoeSumKernel final : public CpuKernel {
 public:
  explicit MoeSumKernel(const OpCall& call)
      : k_(call.inputs[0].shape[1]),
        d_(call.inputs[0].shape[2]),
        bytes_(static_cast<int64_t>(simd::element_bytes(call.inputs[0].dtype))),
        fns_(simd::elementwise(call.inputs[0].dtype)) {}

  void run(const CpuArgs& args) const override {
    const int64_t pieces = ceil_div(d_, kChannels);
    const double work = static_cast<double>(kChannels * k_) / 2;
    args.pool.for_ranges(args.step.n_rows() * pieces, work, [&](int64_t begin, int64_t end) {
      for (; begin < end; ++begin) {
        const int64_t t = begin / pieces, first = begin % pieces * kChannels, n = std::min(kChannels, d_ - first);
        alignas(64) float sum[kChannels] = {}, part[kChannels];
        for (int64_t s = 0; s < k_; ++s) {
          fns_.widen(args.data<const std::byte>(0) + ((t * k_ + s) * d_ + first) * bytes_, n, part);
          fns_.add_rounded(part, n, sum);
        }
        const int64_t at = (t * d_ + first) * bytes_;
        fns_.add_wide(sum, args.data<const std::byte>(1) + at, n, args.data<std::byte>(2) + at);
      }
    });
  }

 private:
  const int64_t k_, d_, bytes_;
  const simd::ElementwiseFns& fns_;
};

constexpr size_t kGateWeight = 3, kDownWeight = 2;  // inputs

template <Support (*kSupport)(const OpCall&, const CpuDevice&)>
Support down_support(const OpCall& call, const CpuDevice& device) {
  if (call.inputs[1].shape[1] > MoeDownKernel::kMaxChosen) return Support::no("at most 64 experts per token");
  return kSupport(call, device);
}

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
  return {OpKind::kMoeDown, name, down_support<library_support<kDownWeight, kLibrary>>,
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
const CpuEntry kCpuMoeDown{OpKind::kMoeDown, "cpu.moe_down.rows16", down_support<exact_support<kDownWeight>>,
                           make_exact<MoeDownKernel, kDownWeight>};
const CpuEntry kCpuMoeDownEigen = down_entry<simd::Library::kEigen>("cpu.moe_down.eigen", eigen_version);
const CpuEntry kCpuMoeDownOnednn = down_entry<simd::Library::kOnednn>("cpu.moe_down.onednn", onednn_version);
const CpuEntry kCpuMoeDownOnednnBf16 =
    down_entry<simd::Library::kOnednnBf16>("cpu.moe_down.onednn_bf16", onednn_bf16_version);

const CpuEntry kCpuMoeDownParts{OpKind::kMoeDownParts, "cpu.moe_down_parts.rows16", exact_support<kDownWeight>,
                                make_exact<MoeDownPartsKernel, kDownWeight>};
const CpuEntry kCpuMoeSum{OpKind::kMoeSum, "cpu.moe_sum", any_call, make_kernel<MoeSumKernel>};

}  // namespace v4rt
