#include "backend/cpu/simd/attend.h"

#include <algorithm>

#include "backend/cpu/cpu_kernel.h"
#include "backend/cpu/kernels/support.h"
#include "backend/cpu/simd/elementwise.h"
#include "backend/cpu/simd/tile_attend.h"
#include "ops/attention/attention.h"
#include "ops/core/arith.h"

namespace v4rt {
namespace {

// Heads of a task at most. A lone token's heads are spread over the threads, by whole units: every task decodes the
// rows again, but no head's result depends on the others.
constexpr int64_t kMostHeads = 64;

class AttendKernel final : public CpuKernel {
 public:
  AttendKernel(const OpCall& call, const CpuDevice& device)
      : spec_(op_of<Attend>(call).spec),
        heads_(call.inputs[0].shape[1]),
        dim_(call.inputs[0].shape[2]),
        ring_rows_(call.inputs[1].shape[1]),
        out_(call.inputs.size()),
        head_bytes_(dim_ * static_cast<int64_t>(simd::element_bytes(call.inputs[0].dtype))),
        fns_(simd::attend(call.inputs[0].dtype)),
        tiles_(simd::attend_tiles(spec_, call.inputs[0].dtype, device.paths())),
        most_heads_(std::min(heads_, kMostHeads)) {
    scratch_bytes = static_cast<size_t>(worker_floats() * device.threads()) * sizeof(float);
  }

  void run(const CpuArgs& args) const override {
    const int64_t rows = args.step.n_rows();
    const int64_t alone = round_up(ceil_div(heads_, args.pool.threads()), simd::kAttendUnit);
    const int64_t heads = std::min(most_heads_, rows == 1 ? alone : kMostHeads), parts = ceil_div(heads_, heads);
    args.pool.for_ranges(rows * parts, work(args.step, heads), [&](int64_t begin, int64_t end, int worker) {
      for (int64_t i = begin; i < end; ++i) run_heads(args, i / parts, i % parts * heads, heads, worker);
    });
  }

 private:
  double work(const Step& step, int64_t heads) const {
    double slots = 0;
    for (const Row& row : step.rows)
      slots += static_cast<double>(std::min(row.position + 1, spec_.window) + entries(row));
    return slots / static_cast<double>(std::max(step.n_rows(), 1)) * static_cast<double>(2 * (heads + 4) * dim_);
  }

  int64_t entries(const Row& row) const {
    if (spec_.ratio == 0) return 0;
    return spec_.top_k > 0 ? spec_.top_k : (row.position + 1) / spec_.ratio;
  }

  simd::AttendView view(const CpuArgs& args, int64_t t) const {
    const Row& row = args.step.rows[static_cast<size_t>(t)];
    simd::AttendView v{.ring_rows = ring_rows_, .width = spec_.format.bytes(), .window = spec_.window};
    v.ring = args.data<const uint8_t>(1) + row.slot * ring_rows_ * v.width;
    v.first = std::max(0, row.position - spec_.window + 1);
    v.seen = row.position - v.first + 1;
    v.slots = spec_.window + entries(row);
    if (spec_.ratio > 0) v.cache = args.data<const uint8_t>(3) + row.slot * args[3].type.shape[1] * v.width;
    if (spec_.top_k > 0) v.idx = args.data<const int32_t>(4) + t * spec_.top_k;
    return v;
  }

  int64_t state_floats() const { return whole_lines(simd::AttendState{.dim = dim_, .heads = most_heads_}.floats()); }
  int64_t worker_floats() const {
    return state_floats() + (tiles_ != nullptr ? whole_lines(simd::AttendTiles::floats(most_heads_, dim_)) : 0);
  }

  void run_heads(const CpuArgs& args, int64_t t, int64_t first, int64_t most, int worker) const {
    float* memory = args.scratch<float>() + worker * worker_floats();
    simd::AttendState state{.dim = dim_, .heads = std::min(most, heads_ - first)};
    state.place(memory);
    const int64_t head = t * heads_ + first;
    const std::byte* q = args.data<const std::byte>(0) + head * head_bytes_;
    fns_.start(q, state);
    const simd::AttendView rows = view(args, t);
    if (tiles_ == nullptr || !tiles_->add_all(spec_, rows, q, fns_, state, memory + state_floats()))
      add_all(rows, state);
    fns_.finish(args.data<const float>(2) + first, state, args.data<std::byte>(out_) + head * head_bytes_);
  }

  void add_all(const simd::AttendView& rows, simd::AttendState& state) const {
    for (int64_t begin = 0; begin < rows.slots; begin += simd::kAttendBlock) {
      const simd::AttendTile tile = simd::attend_block(rows, begin);
      if (tile.n == 0) continue;
      simd::decode_rows(spec_.format, tile, state);
      for (int64_t unit = 0; unit < state.units(); ++unit) fns_.add_block(tile, unit, spec_.scale, spec_.rounds, state);
    }
  }

  const AttendSpec spec_;
  const int64_t heads_, dim_, ring_rows_;
  const size_t out_;
  const int64_t head_bytes_;
  const simd::AttendFns& fns_;
  const simd::AttendTiles* const tiles_;
  const int64_t most_heads_;
};

std::unique_ptr<Kernel> make(const OpCall& call, CpuDevice& device) {
  return std::make_unique<AttendKernel>(call, device);
}

}  // namespace

const CpuEntry kCpuAttend{OpKind::kAttend, "cpu.attend", any_call, make};

}  // namespace v4rt
