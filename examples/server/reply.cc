#include "examples/server/reply.h"

#include <algorithm>
#include <utility>

#include "examples/server/api/chat_request.h"
#include "ops/core/error.h"

namespace v4rt::server {
namespace {

// Each look at an answer, and what is then written of it, takes a core for some 50 us: so all answers together are
// looked at this often.
constexpr auto kPace = std::chrono::milliseconds(2);

double seconds_between(Reply::Clock::time_point from, Reply::Clock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

}  // namespace

Reply::Reply(Engine& engine, const Tokenizer& tokenizer, Metrics& metrics, const Ask& ask, Clock::time_point deadline)
    : engine_(engine), metrics_(metrics), ask_(ask), deadline_(deadline), answers_(std::make_shared<AnswerQueue>()) {
  const int64_t context = engine.model().options().context, size = static_cast<int64_t>(ask.prompt.size());
  check(size < context, Code::kInvalidArgument,
        "the prompt has {} tokens, and the context holds {}, the answer included; send less, or start the server "
        "with a larger --context",
        size, context);
  Request request;
  request.prompt = ask.prompt;
  request.sampler = ask.sampler;
  request.prompt_logprobs = ask.prompt_logprobs;
  request.cache_space = ask.space;
  request.options.max_tokens = std::min(ask.max_tokens, context - size);
  request.options.draft = engine.model().options().draft;
  request.options.end_tokens = engine.model().config().eos_token_ids;
  choices_.resize(static_cast<size_t>(ask.n), {.prompt_tokens = size});
  for (size_t i = 0; i < choices_.size(); ++i) {
    const std::optional<uint64_t> id = engine.submit(request, answers_, i);
    if (!id) {
      for (const Source& source : sources_) engine.cancel(source.id);
      throw ApiError{429, "as many requests wait as may; try again later", 1};
    }
    sources_.push_back({*id, ReplyParser(tokenizer, ask.kind, ask.tools), StopStrings(ask.stop), false, Clock::now()});
    for (const int32_t token : ask.forced) push(i, token, forced_);
    ++request.sampler.seed;
  }
}

Reply::~Reply() {
  for (size_t i = 0; i < sources_.size(); ++i)
    if (!choices_[i].done) engine_.cancel(sources_[i].id);
}

bool Reply::done() const {
  return std::all_of(choices_.begin(), choices_.end(), [](const Choice& choice) { return choice.done; });
}

std::vector<Piece> Reply::next(Clock::time_point until) {
  std::vector<Piece> pieces = std::exchange(forced_, {});
  answers_->gather(std::min(until, looked_ + kPace * static_cast<int64_t>(engine_.running())));
  std::optional<AnswerQueue::Event> event = answers_->pop(late_ ? until : std::min(until, deadline_));
  if (!event && !late_ && Clock::now() >= deadline_) {
    late_ = true;
    for (size_t i = 0; i < sources_.size(); ++i) {
      if (choices_[i].done) continue;
      if (choices_[i].tokens == 0) throw ApiError{503, "the answer did not begin within the time limit", 1};
      end(i, Finish::kTimeLimit);
    }
  }
  if (event) looked_ = Clock::now();
  for (; event; event = answers_->pop({})) take(*event, pieces);
  return pieces;
}

void Reply::take(const AnswerQueue::Event& event, std::vector<Piece>& pieces) {
  Source& source = sources_[event.request];
  Choice& choice = choices_[event.request];
  if (event.prompt) return choice.chances.push_back({false, event.logprobs});
  if (event.token >= 0) {
    if (source.stopped) return;
    const double seconds = seconds_between(source.last, event.at);
    choice.tokens == 0 ? metrics_.began(seconds) : metrics_.token(seconds);
    source.last = event.at;
    ++choice.tokens;
    const bool reasoning = source.parser.reasoning();
    push(event.request, event.token, pieces);
    const bool text = reasoning == source.parser.reasoning();  // and not what ends the reasoning
    if (ask_.sampler.logprobs && text) note(event.request, {reasoning, event.logprobs}, pieces);
    return;
  }
  metrics_.ended(event.result, event.result.prefill_seconds + event.result.decode_seconds);
  choice.cached_tokens = event.result.cached_tokens;
  if (!source.stopped) {
    if (event.error) std::rethrow_exception(event.error);
    std::vector<ReplyPiece> parts;
    source.parser.flush(parts);
    for (const ReplyPiece& part : parts) add(event.request, part, pieces);
    release(event.request, pieces);
    const bool ended = event.result.stop == StopReason::kEndToken;
    end(event.request, ended ? Finish::kStop : Finish::kLength);
  }
  choice.done = true;
}

void Reply::push(size_t number, int32_t token, std::vector<Piece>& pieces) {
  Source& source = sources_[number];
  std::vector<ReplyPiece> parts;
  source.parser.push(token, parts);
  if (source.parser.reasoning()) ++choices_[number].reasoning_tokens;
  for (const ReplyPiece& part : parts) add(number, part, pieces);
  if (source.parser.over()) end(number, Finish::kStop);
}

// They go with the piece that their token ended, or with the next one when it is held back.
void Reply::note(size_t number, TokenChances chances, std::vector<Piece>& pieces) {
  Choice& choice = choices_[number];
  choice.chances.push_back(std::move(chances));
  if (pieces.empty() || pieces.back().choice != number || pieces.back().kind == Piece::Kind::kCallEnd) return;
  for (; choice.told < choice.chances.size(); ++choice.told)
    pieces.back().chances.push_back(choice.chances[choice.told]);
}

void Reply::add(size_t number, const ReplyPiece& piece, std::vector<Piece>& pieces) {
  Source& source = sources_[number];
  if (source.stopped) return;
  if (piece.kind == Piece::Kind::kContent) {  // stop strings are for content alone
    say(number, piece.kind, source.stop.push(piece.text), pieces);
    if (!source.stop.stopped()) return;
    choices_[number].stop_string = source.stop.stop();
    return end(number, Finish::kStopString);
  }
  std::vector<Call>& calls = choices_[number].calls;
  if (piece.kind == Piece::Kind::kCall) {
    release(number, pieces);
    calls.push_back({new_id(ask_.call_prefix), piece.text});
    pieces.push_back({number, piece.kind, piece.text, calls.size() - 1, calls.back().id});
  } else if (piece.kind == Piece::Kind::kCallEnd) {
    calls.back().whole = true;
    pieces.push_back({number, piece.kind, "", calls.size() - 1});
    if (ask_.one_call) end(number, Finish::kStop);
  } else {
    say(number, piece.kind, piece.text, pieces);
  }
}

// What was held back, because it might have been a stop string.
void Reply::release(size_t number, std::vector<Piece>& pieces) {
  if (!sources_[number].stopped) say(number, Piece::Kind::kContent, sources_[number].stop.flush(), pieces);
}

// Pieces of one kind become one.
void Reply::say(size_t number, Piece::Kind kind, std::string text, std::vector<Piece>& pieces) {
  if (text.empty()) return;
  Choice& choice = choices_[number];
  const bool arguments = kind == Piece::Kind::kArguments;
  (arguments                         ? choice.calls.back().arguments
   : kind == Piece::Kind::kReasoning ? choice.reasoning
                                     : choice.content) += text;
  if (!pieces.empty() && pieces.back().choice == number && pieces.back().kind == kind) {
    pieces.back().text += text;
  } else {
    pieces.push_back({number, kind, std::move(text), arguments ? choice.calls.size() - 1 : 0});
  }
}

// The text of a choice is complete; the engine says when it has noticed.
void Reply::end(size_t number, Finish finish) {
  if (sources_[number].stopped) return;
  sources_[number].stopped = true;
  Choice& choice = choices_[number];
  if (!choice.calls.empty() && !choice.calls.back().whole) choice.calls.pop_back();
  choice.finish = finish == Finish::kStop && !choice.calls.empty() ? Finish::kToolCalls : finish;
  engine_.cancel(sources_[number].id);
}

}  // namespace v4rt::server
