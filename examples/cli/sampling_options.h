#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <optional>

#include "graph/runtime/generate.h"
#include "loaders/checkpoint/checkpoint.h"

namespace v4rt::cli {

struct SamplingArguments {
  std::optional<double> temperature, top_p;
  bool recommended = false;  // options that are not given come from the checkpoint
  uint64_t seed = 0;
};

void add_sampling(CLI::App& command, SamplingArguments& arguments);  // --temperature, --top-p, --seed and so on

// Prints what is taken from the checkpoint. Throws Error if it recommends nothing.
SamplerOptions sampler_options(const SamplingArguments& arguments, const Checkpoint& checkpoint);

}  // namespace v4rt::cli
