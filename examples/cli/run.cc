#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>

#include "examples/cli/command.h"
#include "examples/cli/format.h"
#include "examples/cli/input.h"
#include "examples/cli/interrupt.h"
#include "examples/cli/model_options.h"
#include "examples/cli/option_checks.h"
#include "examples/cli/output_file.h"
#include "examples/cli/prefix_cache_options.h"
#include "examples/cli/run_many.h"
#include "examples/cli/sampling_options.h"
#include "examples/cli/statistics.h"
#include "examples/cli/terminal.h"
#include "examples/cli/trace_file.h"
#include "graph/runtime/generate.h"
#include "loaders/text/stop_strings.h"

namespace v4rt::cli {
namespace {

struct RunArguments {
  ModelArguments model;
  std::string prompt, file, save_ids, trace;
  bool has_prompt = false, ignore_end = false, json = false, plain = false;
  int64_t max_tokens = 128;
  SamplingArguments sampling;
  std::optional<int32_t> logprobs;
  PrefixCacheArguments cache;
  int parallel = 0;  // 0: one prompt
};

int run_lines(const RunArguments& a, const Checkpoint& checkpoint) {
  ManyArguments many{.model = a.model, .cache = a.cache, .file = a.file, .plain = a.plain};
  many.model.slots = a.parallel;
  many.options.max_tokens = a.max_tokens;
  if (!a.ignore_end) many.options.end_tokens = checkpoint.weights->config().eos_token_ids;
  many.sampler = sampler_options(a.sampling, checkpoint);
  many.stop = a.sampling.stop;
  return run_many(many, checkpoint);
}

std::string prompt_text(const RunArguments& arguments) {
  if (arguments.has_prompt) return arguments.prompt;
  if (!arguments.file.empty()) return read_text(arguments.file);
  if (input_is_terminal()) say("Type the prompt; Ctrl-D on a line of its own ends it.\n");
  return read_text("-");
}

// Prints a completion as it grows, or collects it for --json.
class Completion {
 public:
  Completion(const Tokenizer& tokenizer, const std::vector<std::string>& stop, bool stream)
      : tokenizer_(tokenizer), stop_(stop), stream_(stream) {}

  void add(int32_t id) {
    if (ids.empty()) first_token_seconds = seconds_since_start();
    ids.push_back(id);
    show(utf8_.push(stop_.push(tokenizer_.token_bytes(id))));
  }
  void end() {
    show(utf8_.push(stop_.flush()) + utf8_.flush());
    // The statistics should begin on a line of their own, but standard output must be the completion and nothing else.
    if (stream_ && !text.empty() && text.back() != '\n') say("\n");
  }

  bool stopped() const { return stop_.stopped(); }

  std::vector<int32_t> ids;
  std::string text;
  double first_token_seconds = 0;

 private:
  void show(const std::string& part) {
    text += part;
    if (stream_ && !part.empty()) print(part);
  }
  const Tokenizer& tokenizer_;
  StopStrings stop_;
  Utf8Stream utf8_;
  bool stream_;
};

// The file of --save-ids, with room for every token that may come.
std::unique_ptr<OutputFile> open_ids_file(const RunArguments& arguments, const Checkpoint& checkpoint) {
  if (arguments.save_ids.empty()) return nullptr;
  std::vector<std::string> inputs = input_files(checkpoint, arguments.model);
  if (!arguments.has_prompt) inputs.push_back(arguments.file.empty() ? "-" : arguments.file);
  auto file = std::make_unique<OutputFile>(arguments.save_ids, inputs);
  const V4Config& config = checkpoint.weights->config();
  const auto line = static_cast<int64_t>(std::to_string(config.vocab_size - 1).size()) + 1;
  file->reserve(line * std::min(arguments.max_tokens, config.max_position));
  return file;
}

void save_ids(OutputFile& file, const std::vector<int32_t>& ids) {
  std::string text;
  for (const int32_t id : ids) text += fmt::format("{}\n", id);
  file.append(std::as_bytes(std::span(text)));
  file.commit();
}

// A chosen token beside the likeliest.
nlohmann::ordered_json logprobs_json(std::span<const TokenLogprob> logprobs, const Tokenizer& tokenizer) {
  const auto entry = [&](const TokenLogprob& t) {
    return nlohmann::ordered_json{{"id", t.id}, {"token", tokenizer.token_bytes(t.id)}, {"logprob", t.logprob}};
  };
  nlohmann::ordered_json json = entry(logprobs.front());
  json["top"] = nlohmann::ordered_json::array();
  for (const TokenLogprob& t : logprobs.subspan(1)) json["top"].push_back(entry(t));
  return json;
}

void report(const RunArguments& arguments, const GenerateResult& result, const Completion& completion,
            const nlohmann::ordered_json& logprobs) {
  const bool stopped = completion.stopped();
  if (!arguments.json) {
    say(statistics(result));
    say(fmt::format("first token {:.3f} s after the start; {}\n", completion.first_token_seconds,
                    stopped ? "stopped at a stop string" : describe(result.stop)));
    return;
  }
  nlohmann::ordered_json json = {
      {"text", completion.text},
      {"ids", completion.ids},
      {"stop", stopped ? kStopString : key(result.stop)},
      {"prompt_tokens", result.prompt_tokens},
      {"cached_tokens", result.cached_tokens},
      {"tokens", result.tokens},
      {"drafted", result.drafted},
      {"accepted", result.accepted},
      {"prefill_seconds", result.prefill_seconds},
      {"decode_seconds", result.decode_seconds},
      {"first_token_seconds", completion.first_token_seconds},
  };
  if (arguments.logprobs) json["logprobs"] = logprobs;
  print(json_text(json));
}

// With a prefix cache: takes from it what it has, and reads and keeps all of the prompt but its last token. Returns how
// many tokens it had.
int64_t read_with_cache(const RunArguments& arguments, Session& session, std::span<const int32_t> prompt) {
  const auto cache = open_prefix_cache(arguments.cache, session);
  if (cache == nullptr) return 0;
  const int64_t cached = cache->restore(session, 0, prompt);
  const std::span<const int32_t> kept = prompt.first(prompt.size() - 1);
  const std::span<const int32_t> rest = kept.subspan(static_cast<size_t>(cached));
  if (!rest.empty() && !session.feed(rest).empty()) cache->store(session, 0, kept);
  return cached;
}

int run(const RunArguments& arguments) {
  check_output();
  const Checkpoint checkpoint = open_files(arguments.model);
  if (arguments.parallel > 0) return run_lines(arguments, checkpoint);
  const auto tokenizer = open_tokenizer(checkpoint);
  const V4Config& config = checkpoint.weights->config();
  const std::vector<int32_t> prompt = encode_text(*tokenizer, prompt_text(arguments), config, arguments.plain);
  SamplerOptions sampling = sampler_options(arguments.sampling, checkpoint);
  sampling.logprobs = arguments.logprobs;
  const InterruptGuard interrupt(InterruptGuard::Mode::kOnce);  // from here on a file would be left behind
  const std::unique_ptr<OutputFile> ids_file = open_ids_file(arguments, checkpoint);
  TraceFile trace(arguments.trace, input_files(checkpoint, arguments.model));
  const auto n_prompt = static_cast<int64_t>(prompt.size());
  const auto model =
      open_model(checkpoint, arguments.model, arguments.model.context > 0 ? n_prompt : n_prompt + arguments.max_tokens);

  Session session(model);
  trace.watch(session);
  Progress progress("reading the prompt");
  session.on_progress([&](int64_t done, int64_t total) {
    progress.update(done, total);
    return !InterruptGuard::raised();
  });
  const double begin = seconds_since_start();
  const int64_t cached = read_with_cache(arguments, session, prompt);
  const double reading = seconds_since_start() - begin;
  Sampler sampler(sampling, config.vocab_size);
  Completion completion(*tokenizer, arguments.sampling.stop, !arguments.json);
  auto logprobs = nlohmann::ordered_json::array();
  GenerateOptions options{.max_tokens = arguments.max_tokens, .draft = model->options().draft};
  if (!arguments.ignore_end) options.end_tokens = config.eos_token_ids;
  sampler.begin(std::span(prompt).first(static_cast<size_t>(session.position())));
  GenerateResult result = generate(session, std::span(prompt).subspan(static_cast<size_t>(session.position())), options,
                                   sampler, [&](int32_t id) {
                                     progress.clear();
                                     completion.add(id);
                                     if (arguments.logprobs)
                                       logprobs.push_back(logprobs_json(sampler.logprobs(), *tokenizer));
                                     return !completion.stopped() && !InterruptGuard::raised();
                                   });
  progress.clear();
  result.prompt_tokens = n_prompt;
  result.cached_tokens = cached;
  result.prefill_seconds += reading;
  completion.end();
  report(arguments, result, completion, logprobs);
  if (ids_file) save_ids(*ids_file, completion.ids);
  trace.write();
  return InterruptGuard::raised() ? InterruptGuard::status() : kSuccess;
}

}  // namespace

void add_run(CLI::App& app, Action& action) {
  auto arguments = std::make_shared<RunArguments>();
  RunArguments& a = *arguments;
  CLI::App* command = app.add_subcommand(
      "run",
      "Continue a text: the completion goes to standard output as it is made, statistics to standard error.\n"
      "The text is read after BOS as it is; control tokens written in it ('<｜User｜>') are recognised.");
  add_model(*command, a.model);
  auto* prompt = command->add_option("-p,--prompt", a.prompt, "The text (default: standard input)");
  auto* file = command->add_option("-f,--file", a.file, "A file that holds the text; - is standard input")
                   ->check(nonempty())
                   ->excludes(prompt);
  add_plain(*command, a.plain);
  command->add_option("-n,--max-tokens", a.max_tokens, "Tokens to make at most")
      ->transform(between(int64_t{1}, int64_t{1} << 40))
      ->capture_default_str();
  add_sampling(*command, a.sampling);
  add_prefix_cache(*command, a.cache);
  add_draft(*command, a.model);
  command->add_flag("--ignore-end", a.ignore_end, "Go on after an end token");
  auto* save_ids =
      command->add_option("--save-ids", a.save_ids, "Also write the completion's token ids to this file, one a line")
          ->check(nonempty());
  auto* json = command->add_flag("--json", a.json, "Print one JSON object at the end in place of the text");
  auto* trace = add_trace(*command, a.trace);
  auto* parallel = command->add_option(
      "--parallel", a.parallel,
      "Answer every line of the file of -f, so many at once: a JSON string, or {\"prompt\": .., and \"id\", "
      "\"max_tokens\", \"temperature\", \"top_k\", \"top_p\", \"min_p\", \"repetition_penalty\", \"presence_penalty\", "
      "\"frequency_penalty\" or \"seed\"}; prints a JSON line for each when it is done");
  parallel->transform(between(1, 1024))->needs(file)->excludes(prompt, save_ids, json, trace);
  command
      ->add_option("--logprobs", a.logprobs,
                   "With --json: also the log-probability of each token, and this many of the likeliest tokens, as the "
                   "model gives them before temperature, penalties and the rest")
      ->transform(between(kLogprobsRange.low, kLogprobsRange.high))
      ->needs(json);
  add_options(*command, a.model);
  command->callback([arguments, prompt, &action] {
    arguments->has_prompt = prompt->count() > 0;
    action = [arguments] { return run(*arguments); };
  });
}

}  // namespace v4rt::cli
