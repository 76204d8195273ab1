#include <fmt/format.h>

#include "examples/cli/command.h"
#include "examples/cli/input.h"
#include "examples/cli/interrupt.h"
#include "examples/cli/model_options.h"
#include "examples/cli/option_checks.h"
#include "examples/cli/tensor_file.h"
#include "examples/cli/terminal.h"
#include "graph/runtime/session.h"
#include "loaders/text/utf8.h"

namespace v4rt::cli {
namespace {

struct LogitsArguments {
  ModelArguments model;
  std::string ids, output;
  bool mtp = false;
};

int logits(const LogitsArguments& arguments) {
  const Checkpoint checkpoint = open_files(arguments.model);
  const V4Config& config = checkpoint.weights->config();
  check(!arguments.mtp || config.has_mtp, Code::kUnsupported, "--mtp: {} has no MTP block{}{}", arguments.model.model,
        checkpoint.mtp_note ? ": " : "", checkpoint.mtp_note.value_or(""));
  const std::vector<int32_t> ids = read_ids(arguments.ids, config.vocab_size);
  const auto n_tokens = static_cast<int64_t>(ids.size());
  std::vector<TensorFile::Matrix> matrices = {{"logits", n_tokens, config.vocab_size}};
  if (arguments.mtp) matrices.push_back({"mtp_logits", n_tokens - 1, config.vocab_size});
  std::vector<std::string> inputs = input_files(checkpoint, arguments.model);
  inputs.push_back(arguments.ids);
  const InterruptGuard interrupt(InterruptGuard::Mode::kOnce);  // from here on a file would be left behind
  TensorFile file(arguments.output, inputs, matrices);

  const auto model = open_model(checkpoint, arguments.model, n_tokens, arguments.mtp);
  Session session(model);
  Progress progress("computing logits");
  const double begin = seconds_since_start();
  int64_t rows = 0;
  session.score(ids, [&](int64_t i, std::span<const float> row, std::span<const float> mtp_row) {
    file.write_row(0, i, row);
    if (!mtp_row.empty()) file.write_row(1, i, mtp_row);
    if (InterruptGuard::raised()) throw Interrupted();
    progress.update(++rows, n_tokens);
  });
  progress.clear();
  file.commit();
  const double seconds = seconds_since_start() - begin;
  say(fmt::format("{}: {} tokens in {:.3f} s, {:.1f} tokens/s\n", escaped(arguments.output), n_tokens, seconds,
                  static_cast<double>(n_tokens) / seconds));
  return kSuccess;
}

}  // namespace

void add_logits(CLI::App& app, Action& action) {
  auto arguments = std::make_shared<LogitsArguments>();
  CLI::App* command = app.add_subcommand(
      "logits",
      "Write the logits after every token of a sequence to a safetensors file: 'logits' F32 [tokens, vocabulary].");
  add_model(*command, arguments->model);
  command->add_option("--ids", arguments->ids, "A file of token ids separated by white space; - is standard input")
      ->required()
      ->check(nonempty());
  command->add_option("-o,--output", arguments->output, "The file to write")->required()->check(nonempty());
  command->add_flag("--mtp", arguments->mtp, "Also 'mtp_logits' F32 [tokens - 1, vocabulary], of the MTP block");
  add_options(*command, arguments->model);
  command->callback([arguments, &action] { action = [arguments] { return logits(*arguments); }; });
}

}  // namespace v4rt::cli
