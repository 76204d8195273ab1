#pragma once

#include "graph/grammar/reply_grammar.h"

namespace v4rt::server {

// Every object in a strict tool's schema requires all its properties and allows no others, as in DeepSeek's service.
// Throws Error(kInvalidArgument) where one does not.
void check_strict(const ReplyRules::Tool& tool);

}  // namespace v4rt::server
