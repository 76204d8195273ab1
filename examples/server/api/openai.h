#pragma once

#include <memory>

#include "examples/server/api/api.h"
#include "examples/server/api/model_info.h"

// OpenAI's Chat Completions and Completions, as DeepSeek's service extends them.
namespace v4rt::server::openai {

// Throw ApiError and Error(kInvalidArgument).
Asked chat(const Json& request, const ModelInfo& model);
Asked completion(const Json& request, const ModelInfo& model);

OrderedJson models(const ModelInfo& model);
OrderedJson describe(const ModelInfo& model);  // one of them
OrderedJson error(const ApiError& error);

}  // namespace v4rt::server::openai
