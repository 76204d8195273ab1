#include "loaders/text/reply_parser.h"

#include <utility>

#include "loaders/text/chat_tools.h"

namespace v4rt {
namespace {

// Where the end of a text begins that belongs to a block of calls if one follows: up to two line ends, and "<".
size_t before_block(std::string_view text) {
  size_t n = text.size();
  if (n > 0 && text[n - 1] == '<') --n;
  for (int i = 0; i < 2 && n > 0 && text[n - 1] == '\n'; ++i) --n;
  return n;
}

}  // namespace

ReplyParser::ReplyParser(const Tokenizer& tokenizer, ReplyKind kind, bool calls)
    : tokenizer_(tokenizer),
      think_(kind == ReplyKind::kText ? -1 : tokenizer.find_added(kThinkToken).value_or(-1)),
      end_think_(kind == ReplyKind::kText ? -1 : tokenizer.find_added(kEndThinkToken).value_or(-1)),
      dsml_(calls ? tokenizer.find_added(kDsmlToken).value_or(-1) : -1),
      reasoning_(kind == ReplyKind::kThinking) {}

void ReplyParser::push(int32_t token, std::vector<ReplyPiece>& out) {
  const bool first = std::exchange(first_, false);
  const std::string_view bytes = tokenizer_.token_bytes(token);
  if (calling_) return token == dsml_ ? calls_.push_marker(out) : calls_.push(bytes, out);
  if (token == think_ && first && reasoning_) return;  // it is open already
  if (token == end_think_) {
    release(held_.size(), out);
    add(utf8_.flush(), out);
    reasoning_ = false;
  } else if (token == dsml_ && held_.ends_with('<')) {
    release(before_block(held_), out);
    add(utf8_.flush(), out);
    reasoning_ = false;
    calling_ = true;
    calls_.push(std::exchange(held_, {}), out);
    calls_.push_marker(out);
  } else {
    held_ += bytes;
    release(dsml_ < 0 ? held_.size() : before_block(held_), out);
  }
}

void ReplyParser::flush(std::vector<ReplyPiece>& out) {
  release(held_.size(), out);
  add(utf8_.flush(), out);
  calls_.flush(out);
}

void ReplyParser::release(size_t bytes, std::vector<ReplyPiece>& out) {
  add(utf8_.push(std::string_view(held_).substr(0, bytes)), out);
  held_.erase(0, bytes);
}

void ReplyParser::add(std::string text, std::vector<ReplyPiece>& out) {
  if (text.empty()) return;
  out.push_back({reasoning_ ? ReplyPiece::Kind::kReasoning : ReplyPiece::Kind::kContent, std::move(text)});
}

}  // namespace v4rt
