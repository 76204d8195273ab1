// A body that a client posts, after a line of one letter, the API: c chat, t text, r Responses, m Messages, k how many
// tokens they have. What is understood can be answered, in JSON.

#include "examples/server/api/anthropic.h"
#include "examples/server/api/openai.h"
#include "examples/server/api/responses.h"
#include "loaders/files/json_file.h"
#include "loaders/text/stop_strings.h"
#include "tests/fuzz/target.h"

namespace v4rt::fuzz {
namespace {

using namespace server;

ModelInfo open_model() {
  ModelInfo model{.name = "v4-mini", .context = 4096, .sample_thinking = true};
  model.tokenizer = Tokenizer::open(V4RT_SOURCE_DIR "/examples/models/v4-mini/tokenizer.json");
  model.trie = std::make_shared<const TokenTrie>(*model.tokenizer, model.tokenizer->vocab_size(), std::vector{1});
  return model;
}

void require_json(std::string_view text) { require(nlohmann::json::accept(text), "an answer that is not JSON"); }

void require_events(std::string_view text) {
  constexpr std::string_view kData = "data: {";
  for (size_t at = 0; (at = text.find(kData, at)) != std::string_view::npos;) {
    const size_t begin = at + kData.size() - 1, end = text.find('\n', begin);
    require_json(text.substr(begin, end - begin));
    at = end;
  }
}

// A reply of every kind of piece, with text that is the client's.
void answer(const Ask& ask, ReplyFormat& format, const std::string& text) {
  const TokenChances chances{.reasoning = false, .tokens = {{1, -0.5f}, {2, -1e30f}}};
  const Call call{.id = "call_1", .name = text, .arguments = "{}", .whole = true};
  const Choice choice{.reasoning = text,
                      .content = text,
                      .calls = {call},
                      .done = true,
                      .finish = Finish::kToolCalls,
                      .chances = {chances, chances},
                      .told = 1,
                      .prompt_tokens = 2,
                      .tokens = 3};
  const std::vector<Choice> choices(static_cast<size_t>(ask.n), choice);
  require_json(format.whole(choices));
  require_events(format.begin());
  require_events(format.alive());
  for (size_t i = 0; i < choices.size(); ++i) {
    using Kind = Piece::Kind;
    for (const Kind kind : {Kind::kReasoning, Kind::kContent, Kind::kCall, Kind::kArguments, Kind::kCallEnd})
      require_events(format.piece({i, kind, kind == Kind::kArguments ? "{}" : text, 0, "call_1", {chances}}));
  }
  require_events(format.end(choices));
  require_events(format.failed({503, text}));
}

}  // namespace

void read(std::string_view input) {
  static const ModelInfo model = open_model();
  if (input.size() < 2) return;
  const Json body = parse_request_json(input.substr(2), "the request");
  if (input[0] == 'k')
    return require(anthropic::count_tokens(body, model)["input_tokens"] > 0, "a prompt without tokens");
  const Asked asked = input[0] == 'c'   ? openai::chat(body, model)
                      : input[0] == 't' ? openai::completion(body, model)
                      : input[0] == 'r' ? responses::create(body, model)
                                        : anthropic::messages(body, model);
  require(asked.ask.n >= 1 && asked.ask.max_tokens >= 0, "an answer of nothing");
  const StopStrings stop(asked.ask.stop);
  const Sampler sampler(asked.ask.sampler, model.tokenizer->vocab_size());
  answer(asked.ask, *asked.format, std::string(input.substr(0, 100)));
}

}  // namespace v4rt::fuzz
