#pragma once

#include <CLI/CLI.hpp>
#include <memory>
#include <string>

#include "graph/runtime/prefix_cache.h"

namespace v4rt::cli {

struct PrefixCacheArguments {
  std::string folder;
  uint64_t folder_bytes = uint64_t{4} << 30;
};

void add_prefix_cache(CLI::App& command, PrefixCacheArguments& arguments);  // --prefix-cache, --prefix-cache-size

// Null when no folder was given.
std::unique_ptr<PrefixCache> open_prefix_cache(const PrefixCacheArguments& arguments, const Session& session);

}  // namespace v4rt::cli
