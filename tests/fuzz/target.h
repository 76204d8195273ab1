#pragma once

#include <string_view>

namespace v4rt::fuzz {

// Defined by each target: reads one input of the kind its file is named after. Any input gives a result or an Error.
void read(std::string_view input);

// A condition on every result. Aborts if it does not hold, so that the fuzzer notices.
void require(bool ok, std::string_view what);

}  // namespace v4rt::fuzz
