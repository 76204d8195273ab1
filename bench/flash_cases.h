#pragma once

#include <vector>

#include "backend/conformance/case.h"

namespace v4rt {

// Ops at the widths of V4-Flash, in the release's types, for one token and for chunks of a prompt.
std::vector<Case> flash_cases();

}  // namespace v4rt
