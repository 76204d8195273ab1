#pragma once

#include <string_view>

namespace v4rt::fuzz {

// What each target defines: reads one input as its file names it. Any input ends in a result or in an Error.
void read(std::string_view input);

// What has to hold of every result; ends the process, which is how a fuzzer learns of it.
void require(bool ok, std::string_view what);

}  // namespace v4rt::fuzz
