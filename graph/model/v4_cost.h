#pragma once

#include <cstdint>

#include "graph/model/v4_model.h"
#include "loaders/checkpoint/v4_config.h"

namespace v4rt {

// What one token of the main model costs according to the architecture, whatever the device or file. Elementwise work,
// softmax, RoPE, Hadamard, Sinkhorn and top-k selection are not counted. MAC: one multiply-accumulate, two FLOP.

// Parameters that one token is multiplied with, by the precision class they are stored and multiplied in.
struct LinearMacs {
  double attention = 0;      // wq_a, wq_b, wkv, wo_b: FP8
  double output_groups = 0;  // wo_a: stored in FP8
  double compressor = 0;     // wkv and wgate of the main and the indexer's compressor
  double index_query = 0;    // the indexer's wq_b: FP8
  double index_weights = 0;  // the indexer's weights_proj
  double experts = 0;        // active routed and shared experts: FP4 or FP8
  double gate = 0;
  double hyper = 0;  // mHC mixing matrices and the head's
  double head = 0;

  double low_precision() const { return attention + output_groups + index_query + experts; }
  double total() const { return low_precision() + compressor + index_weights + gate + hyper + head; }
};

LinearMacs linear_macs(const V4Config& config);

// Work that depends on how many positions the token can look back on.
struct ContextMacs {
  double core = 0;     // scores and values of the attention
  double indexer = 0;  // scores of the lightning indexer
};

ContextMacs context_macs(const V4Config& config, int64_t context);

double flops(const LinearMacs& linear, const ContextMacs& context);
// Counted as in the report: FP8 products weigh 1, bf16 and fp32 ones 2, index scores what is said.
double flops_fp8_equivalent(const LinearMacs& linear, const ContextMacs& context, double index_scores);

double token_flops(const V4Config& config, int64_t context);
double token_flops_fp8_equivalent(const V4Config& config, int64_t context);  // its index scores, FP4, weigh 0.5

// Bytes that a sequence of `context` tokens needs, not counting what a runtime adds for chunks and alignment.
struct CacheBytes {
  double compressed = 0;  // pooled rows
  double index = 0;       // the indexer's keys
  double window = 0;      // raw rows of the sliding window
  double pending = 0;     // blocks that are not complete: constant
  double cache() const { return compressed + index + window; }
};

CacheBytes cache_bytes(const V4Config& config, NumberMode numbers, int64_t context);

// All parameters of the main model, except tables of expert ids.
double total_parameters(const V4Config& config);

}  // namespace v4rt
