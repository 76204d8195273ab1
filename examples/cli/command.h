#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <stdexcept>

namespace v4rt::cli {

// What a command does once the command line has been read; answers the exit status.
using Action = std::function<int()>;

inline constexpr int kSuccess = 0;
inline constexpr int kFailure = 1;
inline constexpr int kUsage = 2;
inline constexpr int kClosedPipe = 141;  // as a shell reports SIGPIPE

// The command line has no meaning, which only showed later: exit status 2.
struct UsageError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Ctrl-C or a signal like it came (InterruptGuard); raised where work cannot be left in another way.
struct Interrupted : std::exception {};

// Each adds its subcommand, which sets `action` when it is the one chosen.
void add_run(CLI::App& app, Action& action);
void add_chat(CLI::App& app, Action& action);
void add_inspect(CLI::App& app, Action& action);
void add_devices(CLI::App& app, Action& action);
void add_explain(CLI::App& app, Action& action);
void add_logits(CLI::App& app, Action& action);
void add_perplexity(CLI::App& app, Action& action);
void add_bench(CLI::App& app, Action& action);
void add_synth(CLI::App& app, Action& action);
void add_verify(CLI::App& app, Action& action);
void add_tune(CLI::App& app, Action& action);

std::string version_text();  // of --version
std::string commit();        // that the program was built from

}  // namespace v4rt::cli
