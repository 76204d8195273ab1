#include "examples/cli/run_many.h"

#include <deque>
#include <type_traits>
#include <utility>

#include "examples/cli/command.h"
#include "examples/cli/format.h"
#include "examples/cli/input.h"
#include "examples/cli/interrupt.h"
#include "examples/cli/statistics.h"
#include "examples/cli/terminal.h"
#include "graph/runtime/scheduler.h"
#include "loaders/files/json_document.h"
#include "loaders/files/json_file.h"
#include "loaders/text/stop_strings.h"
#include "loaders/text/utf8.h"

namespace v4rt::cli {
namespace {

// One line, and what becomes of it.
struct Line {
  explicit Line(const std::vector<std::string>& strings) : stop(strings) {}
  Line(const Line&) = delete;
  Line& operator=(const Line&) = delete;

  size_t number = 0;  // from 1
  Json id;
  Request request;
  std::vector<int32_t> ids;
  std::string text;
  StopStrings stop;
  Utf8Stream utf8;
};

template <class T>
void take(const Json& object, const char* key, OptionRange<T> range, T& value) {
  const Json* const found = object.find(key);
  if (found == nullptr) return;
  bool fits = false;
  if constexpr (std::is_integral_v<T>) {
    const auto within = [&](auto n) {
      return std::cmp_greater_equal(n, range.low) && std::cmp_less_equal(n, range.high);
    };
    check(found->is_integer(), Code::kInvalidArgument, "\"{}\" is not a whole number", key);
    fits = found->is_unsigned() ? within(found->number<uint64_t>()) : within(found->number<int64_t>());
  } else {
    check(found->is_number(), Code::kInvalidArgument, "\"{}\" is not a number", key);
    fits = found->number<T>() >= range.low && found->number<T>() <= range.high;
  }
  check(fits, Code::kInvalidArgument, "\"{}\" is {}: from {} to {}", key, found->dump(), range.low, range.high);
  value = found->number<T>();
}

Request request_of(const Json& line, const ManyArguments& arguments, const Tokenizer& tokenizer,
                   const V4Config& config) {
  const Json object = line.is_string() ? Json::Object{{"prompt", line}} : line;
  const Json* const prompt = object.find("prompt");
  check(prompt != nullptr && prompt->is_string(), Code::kInvalidArgument,
        "neither a JSON string nor an object with a string \"prompt\"");
  for (const auto& [key, value] : object.object()) {
    constexpr std::string_view kKnown[] = {"prompt",
                                           "id",
                                           "max_tokens",
                                           "seed",
                                           "temperature",
                                           "top_k",
                                           "top_p",
                                           "min_p",
                                           "repetition_penalty",
                                           "presence_penalty",
                                           "frequency_penalty"};
    check(std::find(std::begin(kKnown), std::end(kKnown), key) != std::end(kKnown), Code::kInvalidArgument,
          "there is no option \"{}\"", escaped(key));
  }
  Request request{.options = arguments.options, .sampler = arguments.sampler};
  request.prompt = encode_text(tokenizer, prompt->string(), config, arguments.plain);
  SamplerOptions& sampler = request.sampler;
  take(object, "max_tokens", {1, int64_t{1} << 40}, request.options.max_tokens);
  take(object, "seed", {0, UINT64_MAX}, sampler.seed);
  take(object, "temperature", kTemperatureRange, sampler.temperature);
  take(object, "top_k", kTopKRange, sampler.top_k);
  take(object, "top_p", kTopPRange, sampler.top_p);
  take(object, "min_p", kMinPRange, sampler.min_p);
  take(object, "repetition_penalty", kRepetitionRange, sampler.repetition_penalty);
  take(object, "presence_penalty", kPenaltyRange, sampler.presence_penalty);
  take(object, "frequency_penalty", kPenaltyRange, sampler.frequency_penalty);
  return request;
}

class Run {
 public:
  Run(const ManyArguments& arguments, const Checkpoint& checkpoint)
      : arguments_(arguments), checkpoint_(checkpoint), tokenizer_(open_tokenizer(checkpoint)) {}

  int run() {
    read_lines();
    int64_t longest = 1;
    for (const Line& line : lines_) {
      longest = std::max(longest, static_cast<int64_t>(line.request.prompt.size()) + line.request.options.max_tokens);
    }
    longest = std::min(longest, checkpoint_.weights->config().max_position);
    const InterruptGuard interrupt(InterruptGuard::Mode::kOnce);
    Session session(open_model(checkpoint_, arguments_.model, longest));
    const auto cache = open_prefix_cache(arguments_.cache, session);
    Scheduler scheduler(session, cache.get());
    const double begin = seconds_since_start();
    for (Line& line : lines_) submit(scheduler, line);
    Progress progress("answering");
    while (scheduler.step()) {
      if (InterruptGuard::raised()) return InterruptGuard::status();
      progress.update(static_cast<int64_t>(done_), static_cast<int64_t>(lines_.size()));
    }
    progress.clear();
    const double seconds = seconds_since_start() - begin;
    say(
        fmt::format("{} lines, {} failed: {} prompt tokens ({} from the cache) and {} new ones in {:.2f} s: {:.1f} "
                    "new tokens/s\n",
                    lines_.size(), failed_, prompt_tokens_, cached_tokens_, tokens_, seconds,
                    static_cast<double>(tokens_) / seconds));
    return failed_ == 0 ? kSuccess : kFailure;
  }

 private:
  // All of them before the model is opened: its context depends on them.
  void read_lines() {
    const std::string text = read_text(arguments_.file);
    size_t number = 0;
    for (size_t at = 0, end = 0; at < text.size(); at = end + 1) {
      end = std::min(text.find('\n', at), text.size());
      std::string_view line = std::string_view(text).substr(at, end - at);
      ++number;
      if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
      const std::string where = fmt::format("{}, line {}", arguments_.file, number);
      try {
        const Json json = parse_json(line, where);
        lines_.emplace_back(arguments_.stop);
        lines_.back().number = number;
        if (const Json* const id = json.find("id")) lines_.back().id = *id;
        lines_.back().request = request_of(json, arguments_, *tokenizer_, checkpoint_.weights->config());
      } catch (const Error& error) {
        const std::string message = error.what();
        fail(error.code(), "{}", message.starts_with(where) ? message : fmt::format("{}: {}", where, message));
      }
    }
    check(!lines_.empty(), Code::kInvalidArgument, "{}: no lines", arguments_.file);
  }

  void submit(Scheduler& scheduler, Line& line) {
    line.request.on_token = [this, &line](int32_t id, std::span<const TokenLogprob>) {
      line.ids.push_back(id);
      line.text += line.utf8.push(line.stop.push(tokenizer_->token_bytes(id)));
      return !line.stop.stopped();
    };
    line.request.on_done = [this, &line](const GenerateResult& result, const std::exception_ptr& error) {
      line.text += line.utf8.push(line.stop.flush()) + line.utf8.flush();
      report(line, result, error);
    };
    try {
      scheduler.submit(line.request);
    } catch (...) {
      report(line, {}, std::current_exception());
    }
  }

  void report(const Line& line, const GenerateResult& result, const std::exception_ptr& error) {
    OrderedJson json = {{"line", line.number}};
    if (!line.id.is_null()) json["id"] = line.id;
    ++done_;
    if (error) {
      ++failed_;
      try {
        std::rethrow_exception(error);
      } catch (const std::exception& e) {
        json["error"] = e.what();
      }
    } else {
      prompt_tokens_ += result.prompt_tokens;
      cached_tokens_ += result.cached_tokens;
      tokens_ += result.tokens;
      json["text"] = line.text;
      json["ids"] = line.ids;
      json["stop"] = line.stop.stopped() ? kStopString : key(result.stop);
      json["prompt_tokens"] = result.prompt_tokens;
      json["cached_tokens"] = result.cached_tokens;
      json["tokens"] = result.tokens;
    }
    print(json.dump(-1, ' ', false, OrderedJson::error_handler_t::replace) + "\n");
  }

  const ManyArguments& arguments_;
  const Checkpoint& checkpoint_;
  const std::shared_ptr<const Tokenizer> tokenizer_;
  std::deque<Line> lines_;
  size_t done_ = 0, failed_ = 0;
  int64_t prompt_tokens_ = 0, cached_tokens_ = 0, tokens_ = 0;
};

}  // namespace

int run_many(const ManyArguments& arguments, const Checkpoint& checkpoint) { return Run(arguments, checkpoint).run(); }

}  // namespace v4rt::cli
