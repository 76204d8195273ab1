#pragma once

#include "examples/server/api/api.h"
#include "examples/server/api/model_info.h"

// Anthropic's Messages, as DeepSeek's service takes them.
namespace v4rt::server::anthropic {

// Throw Error(kInvalidArgument).
Asked messages(const Json& request, const ModelInfo& model);
OrderedJson count_tokens(const Json& request, const ModelInfo& model);

OrderedJson models(const ModelInfo& model);
OrderedJson error(const ApiError& error);

}  // namespace v4rt::server::anthropic
