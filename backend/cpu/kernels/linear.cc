#include "ops/linear/linear.h"

#include <algorithm>

#include "backend/cpu/cpu_kernel.h"
#include "backend/cpu/kernels/support.h"
#include "backend/cpu/simd/dot.h"
#include "backend/cpu/simd/elementwise.h"
#include "ops/core/arith.h"

namespace v4rt {
namespace {

class LinearKernel final : public CpuKernel {
 public:
  LinearKernel(const OpCall& call, const simd::DotFns& dot, int threads)
      : LinearKernel(op_of<Linear>(call), call, dot, threads) {}

  LinearKernel(const Linear& op, const OpCall& call, const simd::DotFns& dot, int threads)
      : groups_(op.groups),
        live_(op.rows),
        rows_per_token_(op.rows_per_token(call.inputs[0], call.inputs[1])),
        x_type_(call.inputs[0].dtype),
        n_(call.inputs[1].shape[0]),
        k_(call.inputs[1].shape[1]),
        dot_(dot),
        out_(simd::elementwise(call.outputs[0].dtype)),
        x_bytes_(simd::element_bytes(x_type_)),
        out_bytes_(simd::element_bytes(call.outputs[0].dtype)) {
    const int64_t rows = call.inputs[0].shape.elements() / k_ / groups_;
    if (!readable(rows)) packed_ = whole_lines(groups_ * dot_.packed_floats(rows, k_));
    const int64_t sums = rows > 1 ? threads * dot_.matrix_floats() : 0;  // after the packed rows, for each thread
    scratch_bytes = static_cast<size_t>(packed_ + sums) * sizeof(float);
  }

  void run(const CpuArgs& args) const override {
    const int64_t rows = live_rows(args.step, live_) * rows_per_token_;
    if (rows == 0) return;
    if (packed_ != 0) pack(args, rows);
    const int64_t chunks = ceil_div(rows, dot_.most_rows), tile = tile_groups(rows, chunks, args.pool.threads());
    const int64_t tiles = ceil_div(items(), tile);
    const double work = 16.0 * static_cast<double>(tile * k_ * std::min(rows, dot_.most_rows));
    args.pool.for_ranges(groups_ * tiles * chunks, work, [&](int64_t begin, int64_t end, int worker) {
      const simd::Matrix w = simd::matrix_of(args[1]);
      for (; begin < end; ++begin) {
        const int64_t t = begin / chunks;
        run_tile(args, w, rows, t / tiles, t % tiles * tile, tile, begin % chunks * dot_.most_rows, worker);
      }
    });
  }

 private:
  // Groups of sixteen outputs that one weight group touches: with a width that is no multiple of sixteen it may share
  // the first and the last with its neighbours.
  int64_t width() const { return n_ / groups_; }
  int64_t items() const { return width() % 16 == 0 ? width() / 16 : width() / 16 + 2; }

  // Groups per task: many, but few enough to leave several tasks for every thread.
  int64_t tile_groups(int64_t rows, int64_t chunks, int threads) const {
    int64_t tile = rows == 1 ? simd::kVectorGroups : simd::kMatrixGroups;
    while (tile > simd::kVectorGroups && groups_ * (items() / tile) * chunks < 8 * threads) tile /= 2;
    return tile;
  }

  // A single F32 row can be read in place if its length is a multiple of every weight type's unit.
  bool readable(int64_t rows) const { return x_type_ == DType::kF32 && rows == 1 && k_ % 8 == 0; }

  float* packed(const CpuArgs& args, int64_t rows, int64_t group) const {
    return args.scratch<float>() + group * dot_.packed_floats(rows, k_);
  }

  void pack(const CpuArgs& args, int64_t rows) const {
    for_row_tiles(args.pool, dot_, rows, groups_ * k_, [&](int64_t begin, int64_t end) {
      for (int64_t g = 0; g < groups_; ++g) {
        const std::byte* x = args.data<const std::byte>(0) + static_cast<size_t>(g * k_) * x_bytes_;
        dot_.pack(x, groups_ * k_, k_, nullptr, rows, begin, end, packed(args, rows, g));
      }
    });
  }

  // Outputs of up to `tile` groups from `item` on of weight group g, for the chunk of rows from `row` on.
  void run_tile(const CpuArgs& args, const simd::Matrix& w, int64_t rows, int64_t g, int64_t item, int64_t tile,
                int64_t row, int worker) const {
    const int64_t lo = g * width(), hi = lo + width();
    const int64_t first = lo / 16 + item, last = std::min(first + tile, ceil_div(hi, 16));
    if (first >= last) return;
    const simd::Packed x = packed_ != 0
                               ? dot_.packed(packed(args, rows, g), rows, k_)
                               : simd::Packed{.data = args.data<const float>(0) + g * k_, .rows = rows, .k = k_};
    const int64_t from = std::max(lo, 16 * first), n = std::min(hi, 16 * last) - from;
    if (rows == 1) {
      alignas(64) float y[16 * simd::kVectorGroups];
      dot_.lone(w, first, last - first, &x, 1, y);
      return store(args, y + (from - 16 * first), 0, from, n);
    }
    float* y = args.scratch<float>() + packed_ + worker * dot_.matrix_floats();
    const int64_t chunk = std::min(dot_.most_rows, rows - row);
    dot_.matrix(w, first, last - first, x, nullptr, row, chunk, y);
    for (int64_t i = 0; i < chunk; ++i)
      store(args, y + i * 16 * (last - first) + (from - 16 * first), row + i, from, n);
  }

  void store(const CpuArgs& args, const float* y, int64_t row, int64_t from, int64_t n) const {
    out_.narrow(y, n, args.data<std::byte>(2) + static_cast<size_t>(row * n_ + from) * out_bytes_);
  }

  const int64_t groups_;
  const LiveRows live_;
  const int64_t rows_per_token_;
  const DType x_type_;
  const int64_t n_, k_;
  const simd::DotFns& dot_;
  const simd::ElementwiseFns& out_;
  const size_t x_bytes_, out_bytes_;
  int64_t packed_ = 0;  // floats of scratch
};

}  // namespace

const CpuEntry kCpuLinear{OpKind::kLinear, "cpu.linear.rows16", exact_support<1>, make_exact<LinearKernel, 1>};
const CpuEntry kCpuLinearEigen{OpKind::kLinear, "cpu.linear.eigen", library_support<1, simd::Library::kEigen>,
                               make_library<LinearKernel, 1, simd::Library::kEigen>, eigen_version};
const CpuEntry kCpuLinearOnednn{OpKind::kLinear, "cpu.linear.onednn", library_support<1, simd::Library::kOnednn>,
                                make_library<LinearKernel, 1, simd::Library::kOnednn>, onednn_version};
const CpuEntry kCpuLinearOnednnBf16{OpKind::kLinear, "cpu.linear.onednn_bf16",
                                    library_support<1, simd::Library::kOnednnBf16>,
                                    make_library<LinearKernel, 1, simd::Library::kOnednnBf16>, onednn_bf16_version};

}  // namespace v4rt
