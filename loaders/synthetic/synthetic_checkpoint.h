#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "loaders/checkpoint/v4_config.h"
#include "loaders/safetensors/safetensors_writer.h"

namespace v4rt {

// A tensor of a checkpoint in the official layout, and how its random values are distributed so that activations stay
// of the order of one from layer to layer.
struct SyntheticTensor {
  NewTensor tensor;
  // Numbers: uniform in center +- half_width. Scales: they give elements of mean square `mean_square` the standard
  // deviation `deviation`. Codes and tables need nothing.
  float center = 0, half_width = 0;
  double mean_square = 0, deviation = 0;
};

// Every tensor of `config`'s model, the MTP block's when has_mtp: matrices of the experts FP4, of the rest FP8 or BF16
// as released, with their scales.
std::vector<SyntheticTensor> synthetic_tensors(const V4Config& config);

struct SyntheticOptions {
  uint64_t seed = 0;
  int64_t shard_bytes = 4'000'000'000;
  bool replace = false;                                       // a checkpoint already in the folder
  std::function<void(int64_t done, int64_t total)> progress;  // in bytes; may throw to stop
};

struct SyntheticSummary {
  int64_t bytes = 0;  // of all files
  size_t tensors = 0, shards = 0;
};

// Writes a checkpoint of random weights, the same for the same config and seed. Its files appear when all of them are
// complete. Throws Error, leaving nothing behind, if the folder has a checkpoint or the disk has too little room.
SyntheticSummary write_synthetic_checkpoint(const V4Config& config, const std::string& folder,
                                            const SyntheticOptions& options);

}  // namespace v4rt
