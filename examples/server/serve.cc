#include "examples/server/serve.h"

#include <fmt/format.h>
#include <poll.h>

#include <chrono>
#include <ctime>
#include <filesystem>
#include <sstream>
#include <thread>

#include "examples/cli/input.h"
#include "examples/cli/interrupt.h"
#include "examples/cli/model_options.h"
#include "examples/cli/option_checks.h"
#include "examples/cli/prefix_cache_options.h"
#include "examples/cli/terminal.h"
#include "examples/server/api/chat_request.h"
#include "examples/server/service.h"
#include "ops/core/human.h"

namespace v4rt::cli {
namespace {

struct ServeArguments {
  ModelArguments model;
  PrefixCacheArguments cache;
  std::string config, host = "127.0.0.1", key_file, name;
  int port = 8080, max_waiting = 64;
  double answer_seconds = 600, drain_seconds = 60, request_seconds = 60;
  uint64_t max_body = uint64_t{32} << 20, cache_memory = uint64_t{1} << 30;
  std::string revision = "preview", thinking_sampling = "ignore";
  std::string agent_effort = "default";
  bool quiet = false, log_text = false, op_times = false;
};

std::vector<std::string> read_keys(const std::string& path) {
  std::vector<std::string> keys;
  if (path.empty()) return keys;
  const std::string text = read_text(path);
  for (size_t at = 0, end = 0; at < text.size(); at = end + 1) {
    end = std::min(text.find('\n', at), text.size());
    const std::string key = CLI::detail::trim_copy(text.substr(at, end - at));
    if (!key.empty()) keys.push_back(key);
  }
  check(!keys.empty(), Code::kInvalidArgument, "--api-key-file {}: it holds no key; one a line is expected", path);
  return keys;
}

bool is_loopback(const std::string& host) { return host == "localhost" || host == "::1" || host.starts_with("127."); }

// One line of JSON to standard error.
void log_line(const OrderedJson& line) {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  OrderedJson timed = {{"time", std::chrono::duration<double>(now).count()}};
  timed.update(line);
  say(server::json(timed) + "\n");
}

void say_start(const ServeArguments& a, const Model& model, int port) {
  const ModelOptions& options = model.options();
  const std::string host = a.host.find(':') == std::string::npos ? a.host : fmt::format("[{}]", a.host);
  say(
      fmt::format("{} sequences of {} tokens at once: {} of state and working memory, {} "
                  "of weights; {} for prefixes\n"
                  "{}listening at http://{}:{}\n",
                  options.slots, options.context, human_bytes(model.state_bytes() + model.arena_bytes()),
                  human_bytes(model.weight_bytes()), human_bytes(a.cache_memory),
                  is_loopback(a.host)  ? "this machine alone can connect; --host 0.0.0.0 lets others\n"
                  : a.key_file.empty() ? "anyone who reaches this address can use it: "
                                         "--api-key-file asks for a key\n"
                                       : "",
                  host, port));
}

// Options that the command line leaves out, from lines such as "port = 8080".
void read_config(CLI::App& command, const std::string& path) {
  if (path.empty()) return;
  std::istringstream text(read_text(path));
  try {
    for (const CLI::ConfigItem& item : CLI::ConfigTOML().from_config(text)) {
      CLI::Option* const option = command.get_option_no_throw("--" + item.name);
      if (option == nullptr || !item.parents.empty() || item.name == "config")
        throw UsageError(fmt::format("{}: serve has no option {}", path, item.fullname()));
      if (option->count() > 0) continue;
      const bool flag = option->get_expected_max() == 0;
      flag ? option->add_result(option->get_flag_value(item.name, item.inputs.at(0))) : option->add_result(item.inputs);
      option->run_callback();
    }
  } catch (const CLI::ParseError& error) {
    throw UsageError(fmt::format("{}: {}", path, error.what()));
  }
}

// Waits for a signal, or until the engine fails.
void wait_for_end(const Engine& engine) {
  pollfd signal{InterruptGuard::descriptor(), POLLIN, 0};
  while (!InterruptGuard::raised() && engine.failure().empty()) ::poll(&signal, 1, 500);
}

int serve(const ServeArguments& a) {
  const InterruptGuard interrupt(InterruptGuard::Mode::kOnce);
  const Checkpoint checkpoint = open_files(a.model);
  server::ServiceOptions options;
  options.keys = read_keys(a.key_file);
  options.answer_seconds = a.answer_seconds;
  if (is_loopback(a.host)) options.loopback = a.host;
  options.log = a.quiet ? [](const OrderedJson&) {} : log_line;
  options.log_text = a.log_text && !a.quiet;
  options.model.tokenizer = open_tokenizer(checkpoint);
  const auto model = open_model(checkpoint, a.model, 1);
  options.model.name = a.name.empty() ? std::filesystem::path(checkpoint.folder).filename().string() : a.name;
  options.model.trie = std::make_shared<const TokenTrie>(*options.model.tokenizer, model->config().vocab_size,
                                                         model->config().eos_token_ids);
  options.model.bos = model->config().bos_token_id;
  options.model.context = model->options().context;
  options.model.created = std::time(nullptr);
  options.model.revision = a.revision == "0731" ? ChatRevision::k0731 : ChatRevision::kPreview;
  options.model.sample_thinking = a.thinking_sampling == "honour";
  options.model.agents_think_most = a.agent_effort == "max";
  if (options.model.agents_think_most) server::warn_of_small_context(options.model.context);

  EngineOptions engine_options{.max_waiting = static_cast<size_t>(a.max_waiting)};
  if (a.cache_memory > 0 || !a.cache.folder.empty())
    engine_options.cache = {.memory = a.cache_memory, .folder = a.cache.folder, .folder_bytes = a.cache.folder_bytes};
  if (a.op_times) {
    const auto times = std::make_shared<server::OpTimes>();
    options.op_times = times;
    engine_options.on_step_times = [times](const Plan& plan, const Step&, std::span<const double> seconds) {
      times->add(plan, seconds);
    };
  }
  Engine engine(model, engine_options);
  options.model.fingerprint = "fp_" + to_string(engine.mark()).substr(0, 16);
  server::Service service(engine, std::move(options));
  server::HttpServer http(service, {.body = a.max_body, .request_seconds = a.request_seconds});
  const int port = http.bind(a.host, a.port);
  std::thread listener([&] { http.run(); });
  say_start(a, *model, port);
  wait_for_end(engine);

  service.drain();
  const std::string failure = engine.failure();
  if (failure.empty()) say(fmt::format("ending when {} requests are answered\n", http.busy()));
  using Clock = std::chrono::steady_clock;
  const auto late = Clock::now() + std::chrono::milliseconds(static_cast<int64_t>(a.drain_seconds * 1000));
  while (http.busy() > 0 && Clock::now() < late) std::this_thread::sleep_for(std::chrono::milliseconds(20));
  engine.stop();  // whoever is not done is told so
  http.stop();
  listener.join();
  if (!failure.empty()) fail(Code::kDevice, "{}", failure);
  return kSuccess;
}

}  // namespace

void add_serve(CLI::App& app, Action& action) {
  auto arguments = std::make_shared<ServeArguments>();
  ServeArguments& a = *arguments;
  a.model.slots = 4;
  CLI::App* command = app.add_subcommand("serve",
                                         "Answer requests over HTTP as OpenAI's API does, until SIGTERM "
                                         "or Ctrl-C; what is under way is answered first.\n"
                                         "Clients take http://127.0.0.1:8080/v1 as their base URL. "
                                         "/health and /metrics say how it goes.");
  add_model(*command, a.model);
  command
      ->add_option("--config", a.config,
                   "Options from a file, one a line without dashes: port = 8080. Those of the command line count first")
      ->check(nonempty());
  command->add_option("--host", a.host, "The address to listen at; 0.0.0.0 is every one of this machine")
      ->check(nonempty())
      ->capture_default_str();
  command->add_option("--port", a.port, "0: any that is free")->transform(between(0, 65535))->capture_default_str();
  command->add_option("--api-key-file", a.key_file, "Ask clients for one of the keys in this file, one a line")
      ->check(nonempty());
  command->add_option("--name", a.name, "What the model is called (default: the name of its folder)");
  command->add_option("--parallel", a.model.slots, "Sequences at once")
      ->transform(between(1, 1024))
      ->capture_default_str();
  command->add_option("--queue", a.max_waiting, "Requests that may wait for a slot; more are told to come back later")
      ->transform(between(1, 1 << 16))
      ->capture_default_str();
  command->add_option("--answer-seconds", a.answer_seconds, "What an answer may take, waiting included")
      ->transform(between(0.1, 1e6))
      ->capture_default_str();
  command->add_option("--request-seconds", a.request_seconds, "How long a client may take to send a request")
      ->transform(between(0.1, 1e6))
      ->capture_default_str();
  command->add_option("--drain-seconds", a.drain_seconds, "How long to go on after SIGTERM for what is under way")
      ->transform(between(0.0, 1e6))
      ->capture_default_str();
  command->add_option("--max-body", a.max_body, "Of a request")
      ->transform(bytes_between(1024, uint64_t{1} << 32))
      ->default_str("32MiB");
  command
      ->add_option("--chat-revision", a.revision,
                   "What the model was trained on: preview (V4-Flash and "
                   "V4-Pro of April 2026), or 0731")
      ->check(CLI::IsMember({"preview", "0731"}))
      ->capture_default_str();
  command
      ->add_option("--thinking-sampling", a.thinking_sampling,
                   "Temperature and top-p of requests with reasoning: ignore, "
                   "as DeepSeek's service does, or honour")
      ->check(CLI::IsMember({"ignore", "honour"}))
      ->capture_default_str();
  command
      ->add_option("--agent-effort", a.agent_effort,
                   "Of reasoning, where a request with tools asks for none: default, as without tools, or max")
      ->check(CLI::IsMember({"default", "max"}))
      ->capture_default_str();
  add_prefix_cache(*command, a.cache);
  command
      ->add_option("--prefix-cache-memory", a.cache_memory,
                   "Memory for the state after prompts that may come again; 0: none is kept there")
      ->transform(bytes_between(0, uint64_t{1} << 62))
      ->default_str("1GiB");
  command->add_flag("--quiet", a.quiet, "No line of JSON on standard error for each request");
  command->add_flag("--log-text", a.log_text, "Also what is asked and answered in these lines, which may be private");
  command->add_flag("--op-times", a.op_times,
                    "What each op takes, in /metrics. Each step is then waited for before the next begins, which takes "
                    "some time itself");
  add_draft(*command, a.model);
  add_options(*command, a.model);
  command->callback([arguments, command, &action] {
    action = [arguments, command] {
      read_config(*command, arguments->config);
      return serve(*arguments);
    };
  });
}

}  // namespace v4rt::cli
