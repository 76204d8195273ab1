#pragma once

#include "examples/server/api/api.h"
#include "examples/server/api/model_info.h"

// OpenAI's Responses, as agents use it: they send the whole conversation each time, and nothing is kept here. Errors
// have the form of openai.h's.
namespace v4rt::server::responses {

// Throws ApiError and Error(kInvalidArgument).
Asked create(const Json& request, const ModelInfo& model);

}  // namespace v4rt::server::responses
