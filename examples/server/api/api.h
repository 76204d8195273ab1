#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "graph/runtime/generate.h"
#include "loaders/files/json_document.h"
#include "loaders/text/reply_parser.h"

namespace v4rt::server {

// Why a request gets no answer; each API has its own form of it.
struct ApiError {
  int status = 500;
  std::string message;
  int retry_after = 0;  // seconds; 0: not said
};

// What a request asks for, whichever API it came by.
struct Ask {
  std::string model;  // as the client calls it
  std::vector<int32_t> prompt;
  ReplyKind kind = ReplyKind::kText;
  bool tools = false;                 // the reply may hold calls
  std::vector<int32_t> forced = {};   // what it has to begin with: the last tokens of the prompt
  bool one_call = false;              // the first call ends it
  std::string call_prefix = "call_";  // of the ids of calls
  int64_t max_tokens = INT64_MAX;     // less where the context is full before
  SamplerOptions sampler;
  bool prompt_logprobs = false;  // those of the prompt, but for its first token, come first
  std::vector<std::string> stop;
  int n = 1;
  bool stream = false;
  std::string space;  // whose prefixes it may share
};

// What the model held likely at a place of an answer: first the token that stands there, then the likeliest.
struct TokenChances {
  bool reasoning = false;
  std::vector<TokenLogprob> tokens;
};

enum class Finish : uint8_t { kStop, kStopString, kLength, kToolCalls, kTimeLimit };

struct Call {
  std::string id, name, arguments;  // a JSON object
  bool whole = false;               // or cut
};

// One answer to a request, as far as it has come.
struct Choice {
  std::string reasoning, content;
  std::vector<Call> calls;
  bool done = false;
  Finish finish = Finish::kStop;
  std::string stop_string;            // that ended it
  std::vector<TokenChances> chances;  // of each token but </think>, where sampler.logprobs asks for them; the prompt's
                                      // before them where prompt_logprobs does
  size_t told = 0;                    // of them, that pieces have taken along
  int64_t prompt_tokens = 0, cached_tokens = 0, tokens = 0, reasoning_tokens = 0;
};

// What is new of a choice. Pieces of a call belong to the last that began.
struct Piece {
  using Kind = ReplyPiece::Kind;
  size_t choice = 0;
  Kind kind = Kind::kContent;
  std::string text = {};
  size_t call = 0;      // of a call: which of the choice,
  std::string id = {};  // and when it begins, its id
  std::vector<TokenChances> chances = {};
};

// How an API writes answers.
class ReplyFormat {
 public:
  virtual ~ReplyFormat() = default;
  virtual std::string whole(const std::vector<Choice>& choices) = 0;
  // A stream, in this order:
  virtual std::string begin() = 0;
  virtual std::string alive() const = 0;  // while nothing comes
  virtual std::string piece(const Piece& piece) = 0;
  virtual std::string end(const std::vector<Choice>& choices) = 0;
  virtual std::string failed(const ApiError& error) = 0;  // in place of the end
};

// A request that was understood.
struct Asked {
  Ask ask;
  std::unique_ptr<ReplyFormat> format;
};

}  // namespace v4rt::server
