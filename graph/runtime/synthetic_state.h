#pragma once

#include <cstdint>

#include "graph/runtime/session.h"

namespace v4rt {

// Puts sequence `slot` at `position` as if it had read that many tokens, without computing a layer: every row of state
// that a later token can look back on is filled with standard normal numbers in its own format, the same for the same
// seed. What is decoded after it means nothing, but takes as long as after a real text. For benchmarks at depth. Throws
// Error(kInvalidArgument) when the context does not hold `position`.
void fill_synthetic_state(Session& session, int64_t position, uint64_t seed = 1, int slot = 0);

}  // namespace v4rt
