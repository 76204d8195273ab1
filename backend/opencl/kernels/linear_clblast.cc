// Linear by CLBlast: weights are decoded on the device, a panel of columns at a time, into dense f32 beside the rows,
// and multiplied there; the sums are then rounded as the op says.

#include <algorithm>
#include <vector>

#include "backend/opencl/kernels/dot.h"
#include "backend/opencl/kernels/entries.h"
#include "backend/opencl/library/clblast.h"
#include "backend/opencl/library/panel.h"
#include "ops/linear/linear.h"

namespace v4rt {
namespace {

constexpr int64_t kPanelBytes = int64_t{64} << 20;

// Outputs [column, column + width) of each of `count` op groups from `group` on; of several, whole ones.
struct Piece {
  int64_t group, count, column, width;
};

// The largest that a panel holds.
std::vector<Piece> pieces(int64_t op_groups, int64_t width, int64_t k) {
  const int64_t columns =
      std::max<int64_t>(kPanelBytes / (4 * k) / 16 - 1, 1) * 16;  // a piece may start within sixteen
  std::vector<Piece> list;
  const int64_t whole = std::clamp<int64_t>(columns / width, 1, op_groups);
  for (int64_t group = 0; group < op_groups; group += whole)
    for (int64_t column = 0; column < width; column += columns)
      list.push_back({group, std::min(whole, op_groups - group), column, std::min(columns, width - column)});
  return list;
}

struct ClblastLinear {
  int64_t op_groups, width, k, rows_per_token;
  LiveRows live;
  std::vector<Piece> pieces;
  std::unique_ptr<PanelWidener> widen;
  std::unique_ptr<OpenclFunction> widen_rows, narrow_sums;
  bool read_in_place;              // rows are f32 already
  int64_t panel_at, sums_at, end;  // in scratch, in floats; rows are first

  ClblastLinear(const OpCall& call, OpenclDevice* device) {
    const auto& op = op_of<Linear>(call);
    const TensorType &x = call.inputs[0], &w = call.inputs[1];
    op_groups = op.groups, width = w.shape[0] / op.groups, k = w.shape[1], live = op.rows;
    rows_per_token = op.rows_per_token(x, w);
    pieces = v4rt::pieces(op_groups, width, k);
    read_in_place = x.dtype == DType::kF32;
    const int64_t rows = x.shape[0] * rows_per_token;
    int64_t panel = 0, sums = 0;
    for (const Piece& p : pieces) {
      panel = std::max(panel, 16 * row_groups(p) * k);
      sums = std::max(sums, rows * p.count * p.width);
    }
    panel_at = read_in_place ? 0 : round_up(rows * op_groups * k, 16);
    sums_at = panel_at + panel;
    end = sums_at + sums;
    if (device == nullptr) return;
    const auto options = panel_options(x.dtype, call.outputs[0].dtype, w.dtype);
    widen = std::make_unique<PanelWidener>(*device, x.dtype, call.outputs[0].dtype, w);
    widen_rows = device->function("panel.cl", options, "widen_rows");
    narrow_sums = device->function("panel.cl", options, "narrow_sums");
  }

  int64_t first_row(const Piece& p) const { return p.group * width + p.column; }  // of the weight
  int64_t row_groups(const Piece& p) const {
    return ceil_div(first_row(p) + (p.count - 1) * width + p.width, 16) - first_row(p) / 16;
  }

  void operator()(OpenclQueue& queue, std::span<const Tensor> args, const Step& step) const {
    const int64_t rows = live_rows(step, live) * rows_per_token, row = op_groups * k;
    if (rows == 0) return;
    const BufferPtr &scratch = args[3].values, &x = read_in_place ? args[0].values : scratch;
    if (!read_in_place)
      (*widen_rows)(queue, {tiles(row, kColumns), static_cast<size_t>(rows)}, args[0].values, scratch, uint32_t{0},
                    narrow(row));
    for (const Piece& p : pieces) {
      const int64_t groups = row_groups(p), n = p.count * p.width;
      (*widen)(queue, args[1], {.matrix = 0, .first = first_row(p) / 16, .groups = groups}, scratch, panel_at);
      const auto at = [](int64_t v) { return static_cast<size_t>(v); };
      clblast_gemm::multiply(queue, {.buffer = x.get(), .at = at(p.group * k), .stride = at(row), .next = at(k)},
                             {.buffer = scratch.get(),
                              .at = at(panel_at + first_row(p) % 16),
                              .stride = at(16 * groups),
                              .next = at(width)},
                             {.buffer = scratch.get(), .at = at(sums_at), .stride = at(n), .next = at(width)},
                             {.m = at(rows), .n = at(p.width), .k = at(k), .count = at(p.count)});
      (*narrow_sums)(queue, {tiles(n, kColumns), static_cast<size_t>(rows)}, scratch, static_cast<uint32_t>(sums_at),
                     args[2].values, narrow(op_groups * width), narrow(first_row(p)), narrow(n));
    }
  }
};

Support supports(const OpCall& call, const OpenclDevice& device) {
  if (!clblast_gemm::built_in()) return Support::no("this build is without it");
  if (call.inputs[0].shape[0] == 1) return Support::no("a single token");
  if (Support layout = is_rows16(call.inputs[1]); !layout) return layout;
  return panel_fits(device, ClblastLinear(call, nullptr).end);
}

std::unique_ptr<Kernel> make(const OpCall& call, OpenclDevice& device) {
  ClblastLinear linear(call, &device);
  const auto bytes = static_cast<size_t>(4 * linear.end);
  return make_kernel(std::move(linear), bytes);
}

}  // namespace

const OpenclEntry kOpenclLinearClblast{OpKind::kLinear, "opencl.linear.clblast", supports, make, clblast_gemm::version};

}  // namespace v4rt
