#pragma once

#include <cstdint>
#include <string_view>

#include "graph/ir/graph.h"
#include "loaders/checkpoint/weight_source.h"

namespace v4rt {

// faithful: everything rounded as the release rounds it (spec section 3.7). plain: fp32 throughout, no activation or
// cache quantisation, no Hadamard. Both are visible in the graph: as fake_quant and hadamard nodes, activation and row
// formats.
enum class NumberMode : uint8_t { kFaithful, kPlain };

// What a plan computes.
enum class LogitsOf : uint8_t {
  kLastRows,       // the model's logits after the last token of each segment, [segments, V]
  kAllRows,        // after every token, [tokens, V]
  kAllRowsAndMtp,  // also the MTP block's
  kDraft,          // the MTP block's alone after the last token of each segment, from the model's streams as kept
  kNextDraft,      // the same from streams that are handed over: its own of the step before
};

// One plan's shapes. State shapes depend on max_tokens, context, rewind and slots only, so plans that agree on those
// share state.
struct GraphOptions {
  int tokens = 1;          // capacity of a chunk
  int max_tokens = 1;      // of the largest chunk that shares the state
  int segments = 1;        // of a chunk, at most `slots`
  int slots = 1;           // sequences held
  int64_t context = 4096;  // positions per sequence
  int rewind = 0;          // positions that a sequence can go back by
  NumberMode numbers = NumberMode::kFaithful;
  LogitsOf logits = LogitsOf::kLastRows;
  bool draft = false;  // keep the streams of the last tokens for kDraft
};

// Input "ids" I32 [tokens], output "logits" F32; with kAllRowsAndMtp also input "next_ids" and output "mtp_logits".
// kDraft and kNextDraft: input "next_ids" I32 [tokens], the token after each, and for the latter "streams" [tokens, m,
// d]; outputs "logits" and "streams" [segments, m, d]. Only the configuration, types and roundings of `weights` are
// used, no values. Follows spec sections 2 to 11, to be read next to the report.
Graph build_v4(const WeightSource& weights, const GraphOptions& options);

bool is_mtp_state(std::string_view name);

// One layer by itself, to compare intermediate values with another implementation: inputs "ids" and "streams",
// activation [tokens, m, d]; outputs "attn", "ffn" (what the sublayers give, [tokens, d]) and "out" (the streams after
// the layer). Layer num_layers is the MTP block, whose ids are the next tokens.
Graph build_v4_layer(const WeightSource& weights, const GraphOptions& options, int layer);

}  // namespace v4rt
