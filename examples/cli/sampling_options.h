#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "graph/runtime/sampler.h"
#include "loaders/checkpoint/checkpoint.h"

namespace v4rt::cli {

struct SamplingArguments {
  std::optional<float> temperature, top_p, min_p, repetition_penalty;
  std::optional<int32_t> top_k;
  float presence_penalty = 0, frequency_penalty = 0;
  std::vector<std::string> logit_bias;  // "15=-2.5"
  bool recommended = false;             // options that are not given come from the checkpoint
  uint64_t seed = 0;
  std::vector<std::string> stop;  // for StopStrings
};

void add_sampling(CLI::App& command, SamplingArguments& arguments);  // --temperature, --top-p, --stop and so on

// Prints what is taken from the checkpoint. Throws Error if it recommends nothing, UsageError for a bias that names no
// token.
SamplerOptions sampler_options(const SamplingArguments& arguments, const Checkpoint& checkpoint);

}  // namespace v4rt::cli
