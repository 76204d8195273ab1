#include "graph/runtime/tune.h"

#include <fmt/format.h>

#include <set>

#include "examples/cli/command.h"
#include "examples/cli/interrupt.h"
#include "examples/cli/model_options.h"
#include "examples/cli/terminal.h"

namespace v4rt::cli {
namespace {

int tune_model(const ModelArguments& arguments) {
  const Checkpoint checkpoint = open_files(arguments);
  const ModelOptions options = model_options(checkpoint, arguments, 1);
  check(!options.device_options.cache_dir.empty(), Code::kInvalidArgument,
        "there is no folder to keep measurements in: set HOME or XDG_CACHE_HOME");
  const InterruptGuard interrupt(InterruptGuard::Mode::kOnce);
  Progress progress("measuring");
  const auto shapes = tune(checkpoint.weights, options, [&](std::string_view shape, double done) {
    if (InterruptGuard::raised()) throw Interrupted();
    progress.update(done, shape);
  });
  progress.clear();
  std::string text;
  std::set<std::string> said;
  for (const TunedShape& shape : shapes) {
    std::string line = fmt::format("{}  {}\n", shape.device, shape.choice);
    if (said.insert(line).second) text += line;
  }
  print(text);
  say(fmt::format("{} shapes measured, kept in {}\n", said.size(), options.device_options.cache_dir));
  return kSuccess;
}

}  // namespace

void add_tune(CLI::App& app, Action& action) {
  auto arguments = std::make_shared<ModelArguments>();
  CLI::App* command = app.add_subcommand("tune",
                                         "Measure the libraries of --fast beside the exact kernels, for every shape of "
                                         "a model on a device, ahead of time.");
  add_model(*command, *arguments);
  add_plan_options(*command, *arguments);
  command->callback([arguments, &action] { action = [arguments] { return tune_model(*arguments); }; });
}

}  // namespace v4rt::cli
