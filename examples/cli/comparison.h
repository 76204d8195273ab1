#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "loaders/checkpoint/v4_config.h"

namespace v4rt::cli {

// The context lengths that costs are shown for: {"4K", 4096} and so on.
std::span<const std::pair<std::string_view, int64_t>> shown_contexts();

// KV cache and FLOPs per token beside those of DeepSeek-V3.2, as V4's report compares them.
std::string against_v32_text(const V4Config& config);
nlohmann::ordered_json against_v32_json(const V4Config& config);

}  // namespace v4rt::cli
