#include "ops/op.h"

#include <array>

namespace v4rt {

std::string_view name(OpKind kind) {
  static constexpr std::array<std::string_view, static_cast<size_t>(OpKind::kCount)> kNames{
      "embed_rows", "take_last",   "add_streams",   "linear",       "rms_norm", "head_rms", "rope_tail", "fake_quant",
      "hadamard",   "ring_append", "compress_pool", "index_select", "attend",   "hc_pre",   "hc_post",   "hc_head",
      "route_topk", "route_hash",  "swiglu",        "moe_gate_up",  "moe_down", "repack"};
  return kNames[static_cast<size_t>(kind)];
}

}  // namespace v4rt
