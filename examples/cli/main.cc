#include <fmt/format.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <new>
#include <span>

#include "examples/cli/command.h"
#include "examples/cli/interrupt.h"
#include "examples/cli/lost_pages.h"
#include "examples/cli/streams.h"
#include "examples/cli/terminal.h"
#ifdef V4RT_SERVER
#include "examples/server/serve.h"
#endif
#include "loaders/text/utf8.h"
#include "ops/core/error.h"
#include "ops/core/log.h"

namespace v4rt::cli {
namespace {

// Turns whatever goes wrong into a message and an exit status.
int guarded(const std::string& name, const Action& action) {
  const auto complain = [&](std::string_view message, int status) {
    say(fmt::format("{}: {}\n", name, escaped_lines(message)));
    return status;
  };
  try {
    return action();
  } catch (const ClosedPipe&) {
    return kClosedPipe;
  } catch (const Interrupted&) {
    return complain("interrupted", InterruptGuard::status());
  } catch (const UsageError& e) {
    return complain(e.what(), kUsage);
  } catch (const Error& e) {
    return complain(e.what(), kFailure);
  } catch (const std::bad_alloc&) {
    return complain("out of memory", kFailure);
  } catch (const std::exception& e) {
    return complain(fmt::format("internal error: {}", e.what()), kFailure);
  }
}

// The name with the subcommand that was parsed, for messages: "v4rt run".
std::string full_name(const CLI::App& app) {
  const auto chosen = app.get_subcommands();
  return chosen.empty() ? "v4rt" : "v4rt " + chosen.front()->get_name();
}

// "--prompt=" is an empty prompt. CLI11 would take the next argument as its value, so we split it in two. Returns the
// arguments in reverse, as CLI11 wants them.
std::vector<std::string> with_empty_values_apart(const CLI::App& app, std::span<char* const> arguments) {
  std::vector<std::string> result;
  const CLI::App* command = &app;
  const auto takes_value = [&](const std::string& name) {
    const CLI::Option* option = name.starts_with('-') ? command->get_option_no_throw(name) : nullptr;
    return option != nullptr && option->get_items_expected_min() > 0;
  };
  bool is_value = false, only_values = false;
  for (const std::string argument : arguments) {
    only_values = only_values || (!is_value && argument == "--");
    if (is_value || only_values) {
      is_value = false;
    } else if (argument.starts_with("--") && argument.ends_with('=') &&
               takes_value(argument.substr(0, argument.size() - 1))) {
      result.push_back(argument.substr(0, argument.size() - 1));
      result.emplace_back();
      continue;
    } else if (takes_value(argument)) {
      is_value = true;
    } else if (command == &app) {
      const auto named = app.get_subcommands([&](const CLI::App* sub) { return sub->check_name(argument); });
      if (!named.empty()) command = named.front();
    }
    result.push_back(argument);
  }
  std::reverse(result.begin(), result.end());
  return result;
}

// Prints messages of the library like those of the program.
void say_log(log::Level level, std::string_view message) {
  const std::string_view name = level == log::Level::kError ? "error" : level == log::Level::kWarn ? "warning" : "info";
  say(fmt::format("v4rt: {}: {}\n", name, escaped_lines(message)));
}

int run_command_line(int argc, char** argv) {
  occupy_standard_streams();
  // PoCL compiles a kernel again for each kind of grid that it is launched over, at the first launch. Told so, it has
  // one form for all, which is compiled with the program and stored with it.
  ::setenv("POCL_WORK_GROUP_SPECIALIZATION", "0", /*overwrite=*/0);
  std::signal(SIGPIPE, SIG_IGN);  // a closed pipe is an error of write(),
  std::signal(SIGXFSZ, SIG_IGN);  // and so is a file that may not grow further
  log::set_sink(say_log);
  report_lost_pages();
  CLI::App app{"DeepSeek-V4 on any hardware: one model, the same bits on every device.", "v4rt"};
  app.set_version_flag("--version", version_text, "Version, commit, compiler and what was built in");
  app.require_subcommand(1);
  app.footer(
      "Start with:\n"
      "  v4rt run mini -p 'def factorial(n):'    the embedded model continues a text\n"
      "  v4rt chat mini                          a conversation with it\n"
      "  v4rt devices                            what it can run on\n"
      "'v4rt COMMAND --help' lists a command's options. Exit status: 0 success, 1 failure, 2 wrong usage.");

  Action action;
  add_run(app, action);
  add_chat(app, action);
#ifdef V4RT_SERVER
  add_serve(app, action);
#endif
  add_inspect(app, action);
  add_devices(app, action);
  add_explain(app, action);
  add_logits(app, action);
  add_perplexity(app, action);
  add_receipt(app, action);
  add_compare(app, action);
  add_check(app, action);
  add_bench(app, action);
  add_synth(app, action);
  add_verify(app, action);
  add_tune(app, action);
  add_kernels(app, action);
  add_cache(app, action);
  add_compile_for(app, action);
  try {
    app.parse(with_empty_values_apart(app, {argv + std::min(argc, 1), argv + argc}));
  } catch (const CLI::Success& e) {  // --help, --version
    return guarded("v4rt", [&] {
      std::ostringstream text;
      app.exit(e, text, text);
      print(text.str());
      return kSuccess;
    });
  } catch (const CLI::ParseError& e) {
    const std::string name = full_name(app);
    const bool no_command = name == "v4rt" && argc > 1 && argv[1][0] != '-';
    const std::string fact = no_command ? fmt::format("there is no command '{}'", argv[1]) : e.what();
    say(fmt::format("{}: {}\nTry '{} --help'.\n", name, escaped(fact), name));
    return kUsage;
  }
  return guarded(full_name(app), action);
}

}  // namespace
}  // namespace v4rt::cli

int main(int argc, char** argv) {
  try {
    return v4rt::cli::run_command_line(argc, argv);
  } catch (...) {  // no memory for a message, or nowhere to write it
    return v4rt::cli::kFailure;
  }
}
