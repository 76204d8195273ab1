#include "ops/op.h"

#include <algorithm>
#include <array>

#include "ops/infer.h"

namespace v4rt {
namespace {

// Bytes that one execution reads of weight `i`. For experts, the picks are assumed to be spread evenly.
double weight_bytes(std::span<const TensorType> in, size_t i, const Input& input, const Step& step) {
  const double rows = step.n_rows();
  switch (input.role) {
    case Role::kWeight:
    case Role::kMatrix: return total_bytes(in[i]);
    case Role::kTable: return rows * static_cast<double>(info(in[i].dtype).row_bytes(in[i].shape[-1]));
    case Role::kExperts: {
      const double picks = rows * static_cast<double>(in[static_cast<size_t>(input.ids)].shape[-1]);
      const double experts = static_cast<double>(in[i].shape[0]);
      return experts == 0 ? 0 : total_bytes(in[i]) / experts * std::min(experts, picks);
    }
    case Role::kActivation:
    case Role::kState: break;
  }
  return 0;
}

}  // namespace

std::string_view name(OpKind kind) {
  static constexpr std::array<std::string_view, static_cast<size_t>(OpKind::kCount)> kNames{
      "embed_rows", "take_last",      "add_streams", "linear",     "rms_norm",      "head_rms",     "rope_tail",
      "fake_quant", "hadamard",       "ring_append", "ring_read",  "compress_pool", "index_select", "attend",
      "hc_pre",     "hc_post",        "hc_head",     "route_topk", "route_hash",    "swiglu",       "moe_gate_up",
      "moe_down",   "moe_down_parts", "moe_sum",     "repack"};
  return kind == OpKind::kCustom ? "custom" : kNames[static_cast<size_t>(kind)];
}

TensorType range_of(const TensorType& weight, const WeightRange& range) {
  if (range.count == 0) return weight;
  std::vector<int64_t> dims(weight.shape.dims().begin(), weight.shape.dims().end());
  dims[0] = range.count;
  return {weight.dtype, Shape(dims), weight.layout};
}

Cost Op::cost(std::span<const TensorType> in, const Step& step) const {
  Cost cost = work(in, step);
  for (size_t i = 0; i < in.size(); ++i) cost.weight_bytes += weight_bytes(in, i, input(i), step);
  return cost;
}

}  // namespace v4rt
