#pragma once

#include <string>
#include <vector>

#include "examples/cli/model_options.h"
#include "examples/cli/prefix_cache_options.h"
#include "graph/runtime/generate.h"

namespace v4rt::cli {

struct ManyArguments {
  ModelArguments model;  // with slots
  PrefixCacheArguments cache;
  std::string file;
  bool plain = false;
  GenerateOptions options;  // of requests that say nothing else
  SamplerOptions sampler;
  std::vector<std::string> stop;  // ends any of them
};

// Answers every line of a file of JSON lines, several at once: {"prompt": "...", and perhaps "id", "max_tokens",
// "seed", "temperature", "top_k", "top_p", "min_p" or a penalty}, or the prompt alone as a JSON string. Prints a line
// for each when it is done. Returns the exit status: failure if a line could not be answered.
int run_many(const ManyArguments& arguments, const Checkpoint& checkpoint);

}  // namespace v4rt::cli
