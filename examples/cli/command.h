#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <stdexcept>

namespace v4rt::cli {

// Runs a command after the command line has been parsed; returns the exit status.
using Action = std::function<int()>;

inline constexpr int kSuccess = 0;
inline constexpr int kFailure = 1;
inline constexpr int kUsage = 2;
inline constexpr int kClosedPipe = 141;  // as a shell reports SIGPIPE

// The command line turned out to make no sense only after it was parsed: exit status 2.
struct UsageError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Ctrl-C or a similar signal came (InterruptGuard); thrown where work cannot be stopped otherwise.
struct Interrupted : std::exception {};

// Each adds its subcommand, which sets `action` if it is chosen.
void add_run(CLI::App& app, Action& action);
void add_chat(CLI::App& app, Action& action);
void add_inspect(CLI::App& app, Action& action);
void add_devices(CLI::App& app, Action& action);
void add_explain(CLI::App& app, Action& action);
void add_logits(CLI::App& app, Action& action);
void add_perplexity(CLI::App& app, Action& action);
void add_receipt(CLI::App& app, Action& action);
void add_compare(CLI::App& app, Action& action);
void add_check(CLI::App& app, Action& action);
void add_bench(CLI::App& app, Action& action);
void add_synth(CLI::App& app, Action& action);
void add_verify(CLI::App& app, Action& action);
void add_tune(CLI::App& app, Action& action);
void add_kernels(CLI::App& app, Action& action);
void add_cache(CLI::App& app, Action& action);

void add_compile_for(CLI::App& app, Action& action);

std::string version_text();  // of --version
std::string commit();        // that the program was built from

}  // namespace v4rt::cli
