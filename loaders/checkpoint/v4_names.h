#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "loaders/checkpoint/v4_config.h"
#include "ops/core/tensor.h"

namespace v4rt {

// The weights that the model asks for, by name. Official names (checkpoints.md section 1), with what v4rt fuses or
// stacks:
//   layers.N.attn.compressor.wkv_gate.weight          [2cC, d]  wkv's rows, then wgate's
//   layers.N.attn.indexer.compressor.wkv_gate.weight  likewise
//   layers.N.ffn.experts.w1.weight, .w2.weight, .w3.weight      [E, I, d], [E, d, I], [E, I, d]
//   layers.N.ffn.shared_experts.w13.weight            [2I, d]   w1's rows, then w3's
//   layers.N.ffn.gate.tid2eid                         I32 [V, k], whatever the file holds
// and the same under mtp.0. Matrices may be FP8, FP4, BF16, F16 or F32 as the file has them; norms and embeddings BF16
// or F32 (F16 widened); hc_*, attn_sink, ape, gate.bias are F32 (widened if need be).
enum class WeightRole : uint8_t { kMatrix, kEmbedding, kNorm, kF32, kTable };

// How a weight is made from official tensors.
enum class Assembly : uint8_t {
  kWhole,    // one tensor as it is
  kPair,     // two of the same shape, one after the other
  kExperts,  // one per expert
};

struct WeightInfo {
  std::string name;
  Shape shape;
  WeightRole role;
  Assembly assembly = Assembly::kWhole;
};

std::vector<WeightInfo> v4_weights(const V4Config& config);  // in model order; the MTP block's only when has_mtp

// The official names of the tensors that `weight` is made of, in order.
std::vector<std::string> official_parts(const WeightInfo& weight);

// Some files hold all experts of a layer in one tensor, with w1's and w3's rows together. This says where in it a stack
// is.
struct FusedExperts {
  std::string name;          // "layers.0.ffn.experts.w13.weight" [E, 2I, d], "layers.0.ffn.experts.w2.weight" [E, d, I]
  int first = 0, count = 1;  // of the `count` row blocks of each expert, this weight is number `first`
};
FusedExperts fused_experts(const WeightInfo& stack);

// The meaning of a tensor's name in a file, in any of the spellings of checkpoints.md section 2.
struct FileName {
  std::string official;   // the weight: "layers.3.attn.wq_a.weight"
  bool is_scale = false;  // the tensor holds that weight's scales
  bool spelled_officially = true;
};
std::optional<FileName> translate(std::string_view file_name);  // empty: not a V4 tensor

}  // namespace v4rt
