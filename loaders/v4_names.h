#pragma once

#include <string>
#include <vector>

#include "loaders/v4_config.h"
#include "ops/core/tensor.h"

namespace v4rt {

// The weights that the model asks for, by name. Official names (checkpoints.md section 1), with what v4rt fuses or stacks:
//   layers.N.attn.compressor.wkv_gate.weight          [2cC, d]  wkv's rows, then wgate's
//   layers.N.attn.indexer.compressor.wkv_gate.weight  likewise
//   layers.N.ffn.experts.w1.weight, .w2.weight, .w3.weight      [E, I, d], [E, d, I], [E, I, d]
//   layers.N.ffn.shared_experts.w13.weight            [2I, d]   w1's rows, then w3's
//   layers.N.ffn.gate.tid2eid                         I32 [V, k], whatever the file holds
// and the same under mtp.0. Matrices may be FP8, FP4, BF16, F16 or F32 as the file has them; norms BF16 or F32 (F16 widened);
// hc_*, attn_sink, ape, gate.bias are F32 (widened if need be).
enum class WeightRole : uint8_t { kMatrix, kNorm, kF32, kTable };

struct WeightInfo {
  std::string name;
  Shape shape;
  WeightRole role;
};

std::vector<WeightInfo> v4_weights(const V4Config& config);  // in model order; the MTP block's only when has_mtp

}  // namespace v4rt
