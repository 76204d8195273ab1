#include "backend/cpu/simd/attend.h"

#include <algorithm>

#include "backend/cpu/cpu_kernel.h"
#include "backend/cpu/kernels/support.h"
#include "backend/cpu/simd/elementwise.h"
#include "backend/cpu/simd/quant.h"
#include "ops/attention/attention.h"
#include "ops/core/arith.h"

namespace v4rt {
namespace {

// Heads of a task at most. A lone token's heads are spread over the threads, by whole units: every task decodes the
// rows again, but no head's result depends on the others.
constexpr int64_t kMostHeads = 64;

// The rows that one query sees, by slot.
struct View {
  const uint8_t *ring = nullptr, *cache = nullptr;
  const int32_t* idx = nullptr;  // sparse: entry of each slot past the window
  int64_t ring_rows = 0, width = 0;
  int32_t first = 0, seen = 0;  // window: position of slot 0, and how many slots are live
  int64_t window = 0, slots = 0;

  const uint8_t* row(int64_t slot) const {
    if (slot < window) return slot < seen ? ring + (first + slot) % ring_rows * width : nullptr;
    const int64_t entry = idx != nullptr ? idx[slot - window] : slot - window;
    return entry < 0 ? nullptr : cache + entry * width;
  }
};

class AttendKernel final : public CpuKernel {
 public:
  AttendKernel(const OpCall& call, int threads)
      : spec_(op_of<Attend>(call).spec),
        heads_(call.inputs[0].shape[1]),
        dim_(call.inputs[0].shape[2]),
        padded_(round_up(dim_, 16)),
        ring_rows_(call.inputs[1].shape[1]),
        capacity_(spec_.ratio > 0 ? call.inputs[3].shape[1] : 0),
        out_(call.inputs.size()),
        head_bytes_(dim_ * static_cast<int64_t>(simd::element_bytes(call.inputs[0].dtype))),
        fns_(simd::attend(call.inputs[0].dtype)),
        decode_(simd::decode_row(spec_.format)),
        most_heads_(std::min(heads_, kMostHeads)) {
    scratch_bytes = static_cast<size_t>(worker_floats() * threads) * sizeof(float);
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
  // Row stride of a tile: sixteen more than needed, so that a column of rows does not fall into few sets of the cache.
  int64_t stride() const { return padded_ + 16; }
  int64_t units() const { return (most_heads_ + simd::kAttendUnit - 1) / simd::kAttendUnit; }
  int64_t worker_floats() const {
    const int64_t lanes = units() * simd::kAttendUnit;
    return simd::kAttendBlock * stride() + lanes * padded_ + most_heads_ * padded_ + 2 * lanes +
           2 * simd::kAttendBlock * simd::kAttendUnit;
  }

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

  View view(const CpuArgs& args, int64_t t) const {
    const Row& row = args.step.rows[static_cast<size_t>(t)];
    View v{.ring_rows = ring_rows_, .width = spec_.format.bytes(), .window = spec_.window};
    v.ring = args.data<const uint8_t>(1) + row.slot * ring_rows_ * v.width;
    v.first = std::max(0, row.position - spec_.window + 1);
    v.seen = row.position - v.first + 1;
    v.slots = spec_.window + entries(row);
    if (spec_.ratio > 0) v.cache = args.data<const uint8_t>(3) + row.slot * capacity_ * v.width;
    if (spec_.top_k > 0) v.idx = args.data<const int32_t>(4) + t * spec_.top_k;
    return v;
  }

  void run_heads(const CpuArgs& args, int64_t t, int64_t first, int64_t most, int worker) const {
    float* memory = args.scratch<float>() + worker * worker_floats();
    float* tile_rows = memory;
    const int64_t lanes = units() * simd::kAttendUnit;
    simd::AttendState state{.dim = dim_, .padded = padded_, .heads = std::min(most, heads_ - first)};
    state.q = tile_rows + simd::kAttendBlock * stride();
    state.acc = state.q + lanes * padded_;
    state.maximum = state.acc + most_heads_ * padded_;
    state.sum = state.maximum + lanes;
    state.weights = state.sum + lanes;
    const int64_t head = t * heads_ + first;
    fns_.start(args.data<const std::byte>(0) + head * head_bytes_, state);
    const View rows = view(args, t);
    for (int64_t begin = 0; begin < rows.slots; begin += simd::kAttendBlock) {
      const simd::AttendTile tile = decode_block(rows, begin, tile_rows);
      if (tile.n > 0) fns_.add_block(tile, spec_.scale, spec_.rounds, state);
    }
    fns_.finish(args.data<const float>(2) + first, state, args.data<std::byte>(out_) + head * head_bytes_);
  }

  // Live slots of a block.
  simd::AttendTile decode_block(const View& rows, int64_t begin, float* to) const {
    const auto n = static_cast<int>(std::min<int64_t>(simd::kAttendBlock, rows.slots - begin));
    simd::AttendTile tile{.rows = to, .stride = stride()};
    for (int slot = 0; slot < simd::kAttendBlock; ++slot) {
      if (slot % kDotChain == 0) tile.chains[slot / kDotChain] = tile.n;
      const uint8_t* row = slot < n ? rows.row(begin + slot) : nullptr;
      if (row == nullptr) continue;
      float* values = to + tile.n * stride();
      decode_(spec_.format, row, values);
      std::fill(values + dim_, values + padded_, 0.0f);
      tile.slots[tile.n++] = slot;
    }
    tile.chains[simd::kAttendBlock / kDotChain] = tile.n;
    return tile;
  }

  const AttendSpec spec_;
  const int64_t heads_, dim_, padded_, ring_rows_, capacity_;
  const size_t out_;
  const int64_t head_bytes_;
  const simd::AttendFns& fns_;
  const simd::DecodeFn decode_;
  const int64_t most_heads_;
};

std::unique_ptr<Kernel> make(const OpCall& call, CpuDevice& device) {
  return std::make_unique<AttendKernel>(call, device.threads());
}

}  // namespace

const CpuEntry kCpuAttend{OpKind::kAttend, "cpu.attend", any_call, make};

}  // namespace v4rt
