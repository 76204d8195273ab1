// Products with the chosen experts by CLBlast: the host asks which were chosen, which is a wait, and has each expert's
// rows multiplied at once with its weights, decoded on the device.

#include <algorithm>
#include <numeric>
#include <vector>

#include "backend/opencl/kernels/dot.h"
#include "backend/opencl/kernels/entries.h"
#include "backend/opencl/library/clblast.h"
#include "backend/opencl/library/panel.h"
#include "ops/moe/moe.h"

namespace v4rt {
namespace {

// Picks sorted by expert.
struct SortedPicks {
  std::vector<int32_t> lists;  // as experts.cl wants them
  std::vector<size_t> begin;   // of each expert's rows, and the end

  // Rows of x are tokens or picks.
  SortedPicks(std::span<const int32_t> ids, size_t experts, size_t picks_per_row) : begin(experts + 1) {
    for (const int32_t id : ids) ++begin[static_cast<size_t>(id) + 1];
    std::partial_sum(begin.begin(), begin.end(), begin.begin());
    std::vector<size_t> next = begin;
    lists.resize(2 * ids.size());
    for (size_t pick = 0; pick < ids.size(); ++pick) {
      const size_t row = next[static_cast<size_t>(ids[pick])]++;
      lists[pick] = static_cast<int32_t>(row);
      lists[ids.size() + row] = static_cast<int32_t>(pick / picks_per_row);
    }
  }
};

struct ClblastExperts {
  int64_t experts, n, k, chosen, picks_per_row;
  int64_t rows_at, panel_at, sums_at, sums, end;  // in scratch, in floats; the lists are first
  std::unique_ptr<PanelWidener> widen;
  std::unique_ptr<OpenclFunction> gather;

  // `matrices` products of each pick.
  ClblastExperts(const TensorType& x, const TensorType& ids, const TensorType& weight, int64_t picks_per_row,
                 int64_t matrices, OpenclDevice* device)
      : experts(weight.shape[0]),
        n(weight.shape[1]),
        k(weight.shape[2]),
        chosen(ids.shape[1]),
        picks_per_row(picks_per_row),
        rows_at(round_up(2 * ids.shape.elements(), 16)),
        panel_at(rows_at + round_up(ids.shape.elements() * k, 16)),
        sums_at(panel_at + round_up(n, 16) * k),
        sums(round_up(ids.shape.elements() * n, 16)),
        end(sums_at + matrices * sums) {
    if (device == nullptr) return;
    widen = std::make_unique<PanelWidener>(*device, x.dtype, x.dtype, weight);
    gather = device->function("experts.cl", {define("ACT", x.dtype)}, "gather_rows");
  }

  static uint32_t offset(int64_t at) { return static_cast<uint32_t>(at); }
  size_t picks(const Step& step) const { return live_count(step) * static_cast<size_t>(chosen); }

  SortedPicks sort(OpenclQueue& queue, Buffer& ids, const Tensor& scratch, const Tensor& x, const Step& step) const {
    std::vector<int32_t> chosen_ids(picks(step));
    queue.download(std::as_writable_bytes(std::span(chosen_ids)), ids, 0);
    // Those of a range that follows are written again by it.
    for (int32_t& id : chosen_ids) id = std::clamp<int32_t>(id, 0, narrow(experts) - 1);
    SortedPicks sorted(chosen_ids, static_cast<size_t>(experts), static_cast<size_t>(picks_per_row));
    queue.upload(*scratch.values, 0, std::as_bytes(std::span(sorted.lists)));
    (*gather)(queue, {tiles(k, kColumns), picks(step)}, x.values, scratch.values, scratch.values, offset(rows_at),
              narrow(k));
    return sorted;
  }

  // The sums of matrix `matrix` of the op.
  void multiply(OpenclQueue& queue, const SortedPicks& sorted, const Tensor& weight, const Tensor& scratch,
                int64_t matrix) const {
    const auto at = [](int64_t v) { return static_cast<size_t>(v); };
    const Buffer* buffer = scratch.values.get();
    for (size_t expert = 0; expert + 1 < sorted.begin.size(); ++expert) {
      const size_t first = sorted.begin[expert], rows = sorted.begin[expert + 1] - first;
      if (rows == 0) continue;
      (*widen)(queue, weight, {.matrix = static_cast<int64_t>(expert), .first = 0, .groups = ceil_div(n, 16)},
               scratch.values, panel_at);
      clblast_gemm::multiply(queue, {.buffer = buffer, .at = at(rows_at) + first * at(k), .stride = at(k)},
                             {.buffer = buffer, .at = at(panel_at), .stride = at(round_up(n, 16))},
                             {.buffer = buffer, .at = at(sums_at + matrix * sums) + first * at(n), .stride = at(n)},
                             {.m = rows, .n = at(n), .k = at(k)});
    }
  }
};

template <class Make>
Support supports(const OpCall& call, const OpenclDevice& device, const TensorType& weight, const Make& make) {
  if (!clblast_gemm::built_in()) return Support::no("this build is without it");
  if (call.inputs[0].shape[0] == 1) return Support::no("a single token");
  if (Support layout = is_rows16(weight); !layout) return layout;
  return panel_fits(device, make().end);
}

ClblastExperts gate_up(const OpCall& call, OpenclDevice* device) {
  return {call.inputs[0], call.inputs[1], call.inputs[3], call.inputs[1].shape[1], 2, device};
}

Support supports_gate_up(const OpCall& call, const OpenclDevice& device) {
  if (op_of<MoeGateUp>(call).first != 0 || call.inputs.size() != 5) return Support::no("a range of experts");
  return supports(call, device, call.inputs[3], [&] { return gate_up(call, nullptr); });
}

std::unique_ptr<Kernel> make_gate_up(const OpCall& call, OpenclDevice& device) {
  ClblastExperts e = gate_up(call, &device);
  const auto bytes = static_cast<size_t>(4 * e.end);
  return make_kernel(
      [e = std::move(e), gate = device.function("experts.cl", {define("ACT", call.inputs[0].dtype)}, "gate_sums"),
       limit = op_of<MoeGateUp>(call).limit](OpenclQueue& queue, std::span<const Tensor> args, const Step& step) {
        if (e.picks(step) == 0) return;
        const Tensor& scratch = args.back();
        const SortedPicks sorted = e.sort(queue, *args[1].values, scratch, args[0], step);
        e.multiply(queue, sorted, args[3], scratch, 0);
        e.multiply(queue, sorted, args[4], scratch, 1);
        (*gate)(queue, {tiles(e.n, kColumns), e.picks(step)}, scratch.values, ClblastExperts::offset(e.sums_at),
                ClblastExperts::offset(e.sums_at + e.sums), scratch.values, args[2].values, args[5].values, narrow(e.n),
                limit);
      },
      bytes);
}

ClblastExperts down(const OpCall& call, OpenclDevice* device) {
  return {call.inputs[0], call.inputs[1], call.inputs[2], 1, 1, device};
}

Support supports_down(const OpCall& call, const OpenclDevice& device) {
  return supports(call, device, call.inputs[2], [&] { return down(call, nullptr); });
}

std::unique_ptr<Kernel> make_down(const OpCall& call, OpenclDevice& device) {
  ClblastExperts e = down(call, &device);
  const auto bytes = static_cast<size_t>(4 * e.end);
  return make_kernel(
      [e = std::move(e), add = device.function("experts.cl", {define("ACT", call.inputs[0].dtype)}, "add_experts")](
          OpenclQueue& queue, std::span<const Tensor> args, const Step& step) {
        if (e.picks(step) == 0) return;
        const Tensor& scratch = args.back();
        const SortedPicks sorted = e.sort(queue, *args[1].values, scratch, args[0], step);
        e.multiply(queue, sorted, args[2], scratch, 0);
        (*add)(queue, {tiles(e.n, kColumns), live_count(step)}, scratch.values, ClblastExperts::offset(e.sums_at),
               scratch.values, args[3].values, args[4].values, narrow(e.chosen), narrow(e.n));
      },
      bytes);
}

}  // namespace

const OpenclEntry kOpenclMoeGateUpClblast{OpKind::kMoeGateUp, "opencl.moe_gate_up.clblast", supports_gate_up,
                                          make_gate_up, clblast_gemm::version};
const OpenclEntry kOpenclMoeDownClblast{OpKind::kMoeDown, "opencl.moe_down.clblast", supports_down, make_down,
                                        clblast_gemm::version};

}  // namespace v4rt
