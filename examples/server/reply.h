#pragma once

#include <chrono>
#include <memory>
#include <vector>

#include "examples/server/api/api.h"
#include "examples/server/metrics.h"
#include "graph/runtime/engine.h"
#include "loaders/text/reply_parser.h"
#include "loaders/text/stop_strings.h"

namespace v4rt::server {

// The answers to one request under way. What has not ended is cancelled with it.
class Reply {
 public:
  using Clock = AnswerQueue::Clock;

  // Throws ApiError when the queue is full, and Error for what the model does not take.
  Reply(Engine& engine, const Tokenizer& tokenizer, Metrics& metrics, const Ask& ask, Clock::time_point deadline);
  ~Reply();

  // Waits until `until` for something to come, and returns all that has. With many answers under way, tokens that come
  // soon after others wait for more. Throws ApiError when the model failed, or gave
  // nothing before the deadline.
  std::vector<Piece> next(Clock::time_point until);
  bool done() const;
  const std::vector<Choice>& choices() const { return choices_; }

 private:
  // What belongs to one choice beside what it says.
  struct Source {
    uint64_t id;
    ReplyParser parser;
    StopStrings stop;
    bool stopped = false;  // its text is complete, though the engine may not know yet
    Clock::time_point last;
  };

  void take(const AnswerQueue::Event& event, std::vector<Piece>& pieces);
  void push(size_t number, int32_t token, std::vector<Piece>& pieces);
  void note(size_t number, TokenChances chances, std::vector<Piece>& pieces);
  void add(size_t number, const ReplyPiece& piece, std::vector<Piece>& pieces);
  void say(size_t number, Piece::Kind kind, std::string text, std::vector<Piece>& pieces);
  void release(size_t number, std::vector<Piece>& pieces);
  void end(size_t number, Finish finish);

  Engine& engine_;
  Metrics& metrics_;
  const Ask ask_;
  const Clock::time_point deadline_;
  const std::shared_ptr<AnswerQueue> answers_;
  std::vector<Source> sources_;
  std::vector<Choice> choices_;
  std::vector<Piece> forced_;  // what the prompt says of the answers
  Clock::time_point looked_;   // when something had come
  bool late_ = false;          // the deadline has passed: what was under way ends
};

}  // namespace v4rt::server
