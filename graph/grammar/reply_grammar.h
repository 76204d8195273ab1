#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "graph/grammar/grammar.h"
#include "loaders/text/json_field.h"

namespace v4rt {

// What a reply of the V4 chat encoding is held to. Reasoning is free, up to </think>.
struct ReplyRules {
  struct Tool {
    std::string name;
    JsonField parameters;  // their schema
    bool strict = false;   // calls follow it; otherwise any parameters do
  };
  bool thinking = false;                 // it begins with reasoning
  std::optional<JsonField> schema = {};  // the content is JSON of this schema, and text otherwise
  std::vector<Tool> tools = {};          // that may be called after the content, or, with a schema, instead of it
  bool must_call = false;                // there is nothing but calls
};

// Throws Error(kInvalidArgument) for schemas that cannot be followed.
std::shared_ptr<const Grammar> reply_grammar(const ReplyRules& rules);

}  // namespace v4rt
