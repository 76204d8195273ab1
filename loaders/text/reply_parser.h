#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "loaders/text/call_reader.h"
#include "loaders/text/tokenizer.h"

namespace v4rt {

enum class ReplyKind : uint8_t { kText, kChat, kThinking };  // kText: content, whatever it holds

// Takes a reply of the V4 chat encoding apart, as its tokens come: reasoning up to </think>, then content, then calls
// of tools. Control tokens count by their ids: the same characters written as text are text.
class ReplyParser {
 public:
  // Without `calls`, the markup of calls is content.
  ReplyParser(const Tokenizer& tokenizer, ReplyKind kind, bool calls);

  void push(int32_t token, std::vector<ReplyPiece>& out);
  void flush(std::vector<ReplyPiece>& out);  // at the end
  bool reasoning() const { return reasoning_; }
  bool over() const { return calls_.over(); }  // the calls are complete: nothing that follows counts

 private:
  void release(size_t bytes, std::vector<ReplyPiece>& out);
  void add(std::string text, std::vector<ReplyPiece>& out);

  const Tokenizer& tokenizer_;
  const int32_t think_, end_think_, dsml_;  // -1: the tokenizer has none, or it is text
  bool reasoning_, first_ = true, calling_ = false;
  CallReader calls_;
  std::string held_;  // may turn out to belong to a block of calls
  Utf8Stream utf8_;
};

}  // namespace v4rt
