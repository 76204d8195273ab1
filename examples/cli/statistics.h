#pragma once

#include <string>
#include <string_view>

#include "graph/runtime/generate.h"

namespace v4rt::cli {

std::string statistics(const GenerateResult& result);           // prefill and decode, two lines
std::string_view describe(StopReason reason);                   // "stopped at the end token"
std::string_view key(StopReason reason);                        // "end_token"
inline constexpr std::string_view kStopString = "stop_string";  // the same for a text that StopStrings ended

}  // namespace v4rt::cli
