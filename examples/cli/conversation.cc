#include "examples/cli/conversation.h"

#include "loaders/text/stop_strings.h"
#include "ops/core/error.h"

namespace v4rt::cli {
namespace {

int32_t control_token(const Tokenizer& tokenizer, std::string_view content) {
  const std::optional<int32_t> id = tokenizer.find_added(content);
  check(id.has_value(), Code::kUnsupported,
        "tokenizer.json has no token {}: this model does not know the V4 chat encoding", content);
  return *id;
}

}  // namespace

// A reply as it comes: reasoning up to </think>, then the answer.
struct Conversation::Reply {
  const Tokenizer& tokenizer;
  const TextFn& text;
  int32_t end_think;
  Part part;
  StopStrings stop;
  std::vector<int32_t> answer = {};
  Utf8Stream utf8 = {};

  void add(int32_t id) {
    if (id == end_think && part == Part::kReasoning) {
      end_part();
      part = Part::kAnswer;
      return;
    }
    if (part == Part::kAnswer) answer.push_back(id);
    text(part, utf8.push(stop.push(tokenizer.token_bytes(id))));
  }
  void end_part() { text(part, utf8.push(stop.flush()) + utf8.flush()); }
};

Conversation::Conversation(std::shared_ptr<const Model> model, std::shared_ptr<const Tokenizer> tokenizer,
                           ConversationOptions options)
    : options_(std::move(options)),
      tokenizer_(std::move(tokenizer)),
      session_(std::move(model)),
      sampler_(options_.sampling, session_.model().config().vocab_size),
      think_(control_token(*tokenizer_, "<think>")),
      end_think_(control_token(*tokenizer_, "</think>")) {}

void Conversation::start_over() {
  session_.reset();
  unread_.clear();
  first_ = true;
  sampler_.forget();
}

GenerateResult Conversation::answer(std::span<const int32_t> prompt, Reply& reply,
                                    const std::function<bool()>& stopped) {
  const GenerateOptions options{.max_tokens = options_.max_tokens,
                                .draft = session_.model().options().draft,
                                .end_tokens = session_.model().config().eos_token_ids};
  const GenerateResult result = generate(session_, prompt, options, sampler_, [&](int32_t id) {
    reply.add(id);
    return !reply.stop.stopped() && !stopped();
  });
  reply.end_part();
  return result;
}

GenerateResult Conversation::ask(std::string_view message, const TextFn& text, const std::function<bool()>& stopped) {
  std::vector<int32_t> ids = unread_;
  const std::vector<TextPart> turn =
      render_turn(message, first_ ? options_.system : "", first_, !first_, options_.chat);
  for (const int32_t id : tokenizer_->encode(turn)) ids.push_back(id);
  const int64_t begin = session_.position(), context = session_.model().options().context;
  check(begin + static_cast<int64_t>(ids.size()) < context, Code::kInvalidArgument,
        "the conversation has {} tokens, the message brings {} more, and the context holds {}: start over with /reset, "
        "or start the program with a larger --context",
        begin, ids.size(), context);
  first_ = false;
  session_.on_progress([&](int64_t done, int64_t total) {
    if (progress_) progress_(done, total);
    return !stopped();
  });

  // The prompt's last token opens the reasoning: the next turn goes on from the state before it.
  const bool thinks = thinking() && ids.back() == think_;
  const std::span<const int32_t> head = std::span<const int32_t>(ids).first(ids.size() - 1);
  if (thinks) {
    session_.feed(head);
    sampler_.begin(head);
  }
  std::optional<int64_t> before;
  SamplerState sampler_before;
  GenerateResult result;
  result.stop = StopReason::kCancelled;
  Reply reply{*tokenizer_, text, end_think_, thinks ? Part::kReasoning : Part::kAnswer, StopStrings(options_.stop)};
  if (!thinks || session_.position() == begin + static_cast<int64_t>(head.size())) {
    if (thinks) {
      session_.checkpoint();
      before = session_.position();
      sampler_before = sampler_.state();
    }
    result = answer(thinks ? std::span<const int32_t>(&think_, 1) : std::span<const int32_t>(ids), reply, stopped);
  }

  const int64_t read = session_.position() - begin;
  unread_.clear();
  if (before) {
    session_.truncate(*before);
    session_.drop_checkpoint(*before);
    sampler_before.random = sampler_.state().random;  // another turn draws other numbers
    sampler_.restore(sampler_before);
    unread_.push_back(end_think_);
    unread_.insert(unread_.end(), reply.answer.begin(), reply.answer.end());
  } else if (read < static_cast<int64_t>(ids.size())) {  // stopped while the message was being read
    unread_.assign(ids.begin() + read, ids.end());
    if (thinks) unread_.back() = end_think_;
  }
  result.prompt_tokens = static_cast<int64_t>(ids.size());
  return result;
}

}  // namespace v4rt::cli
