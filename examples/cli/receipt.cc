#include "graph/evidence/receipt.h"

#include <fmt/format.h>

#include <filesystem>

#include "examples/cli/command.h"
#include "examples/cli/input.h"
#include "examples/cli/interrupt.h"
#include "examples/cli/model_options.h"
#include "examples/cli/option_checks.h"
#include "examples/cli/output_file.h"
#include "examples/cli/terminal.h"
#include "graph/api/v4rt.h"
#include "loaders/text/utf8.h"

namespace v4rt::cli {
namespace {

struct ReceiptArguments {
  ModelArguments model;
  std::string prompt, file, ids, output, verify;
  bool plain = false, mtp = false;
  int64_t more = 16;
};

std::vector<int32_t> prompt_of(const ReceiptArguments& a, const Checkpoint& checkpoint) {
  const V4Config& config = checkpoint.weights->config();
  if (!a.ids.empty()) return read_ids(a.ids, config.vocab_size);
  return encode_text(*open_tokenizer(checkpoint), a.file.empty() ? a.prompt : read_text(a.file), config, a.plain);
}

// Progress over `total` rows.
std::function<void(size_t)> shown_by(Progress& progress, size_t total) {
  return [&progress, total](size_t rows) {
    if (InterruptGuard::raised()) throw Interrupted();
    progress.update(static_cast<int64_t>(rows), static_cast<int64_t>(total));
  };
}

int make(const ReceiptArguments& a) {
  const Checkpoint checkpoint = open_files(a.model);
  const std::vector<int32_t> prompt = prompt_of(a, checkpoint);
  std::vector<std::string> inputs = input_files(checkpoint, a.model);
  for (const std::string& file : {a.file, a.ids})
    if (!file.empty()) inputs.push_back(file);
  const InterruptGuard interrupt(InterruptGuard::Mode::kOnce);  // from here on a file would be left behind
  OutputFile file(a.output, inputs);
  const int64_t positions = static_cast<int64_t>(prompt.size()) + a.more;
  Session session(open_model(checkpoint, a.model, positions, a.mtp));
  Progress progress("computing logits");
  Receipt receipt = make_receipt(session, prompt, a.more, shown_by(progress, static_cast<size_t>(positions)));
  receipt.model = std::filesystem::path(checkpoint.folder).filename().string();
  receipt.program = fmt::format("v4rt {}, commit {}", v4rt_version(), commit());
  progress.clear();
  const std::string text = to_json_lines(receipt);
  file.append(std::as_bytes(std::span(text)));
  file.commit();
  say(fmt::format("{}: {} tokens\n", escaped(a.output), receipt.rows.size()));
  return kSuccess;
}

int verify(const ReceiptArguments& a) {
  const Receipt receipt = parse_receipt(read_file(a.verify), a.verify);
  ModelArguments arguments = a.model;
  arguments.numbers = receipt.numbers == NumberMode::kPlain ? "plain" : "faithful";
  const Checkpoint checkpoint = open_files(arguments);
  const InterruptGuard interrupt(InterruptGuard::Mode::kOnce);
  Session session(open_model(checkpoint, arguments, static_cast<int64_t>(receipt.rows.size()), receipt.mtp));
  Progress progress("comparing logits");
  const auto difference = check_receipt(session, receipt, shown_by(progress, receipt.rows.size()));
  progress.clear();
  if (!difference) {
    print(fmt::format("equal: the logits after {} tokens, as made by {} on {}\n", receipt.rows.size(),
                      escaped(receipt.program), escaped(receipt.devices)));
    return kSuccess;
  }
  print(fmt::format("different: {}\nmade by {} on {}\n", describe(*difference, receipt, session.model()),
                    escaped(receipt.program), escaped(receipt.devices)));
  return kFailure;
}

}  // namespace

void add_receipt(CLI::App& app, Action& action) {
  auto arguments = std::make_shared<ReceiptArguments>();
  ReceiptArguments& a = *arguments;
  CLI::App* command = app.add_subcommand(
      "receipt",
      "Write down what a model says, as hashes of the logits after every token, or hold a model to what was written\n"
      "down elsewhere: every device that computes as v4rt defines it gives the same ones.");
  add_model(*command, a.model);
  CLI::Option_group* what = command->add_option_group("of", "What the receipt is of");
  what->add_option("-p,--prompt", a.prompt, "A text to read");
  what->add_option("-f,--file", a.file, "A file that holds the text; - is standard input")->check(nonempty());
  what->add_option("--ids", a.ids, "A file of token ids separated by white space; - is standard input")
      ->check(nonempty());
  auto* verified = what->add_option("--verify", a.verify, "A receipt to hold the model to")->check(nonempty());
  what->require_option(1);
  add_options(*command, a.model);
  command->get_option("--numbers")->excludes(verified);
  auto* output = command->add_option("-o,--output", a.output, "The receipt to write")
                     ->check(nonempty())
                     ->excludes(verified)
                     ->excludes(command->get_option("--fast"));  // whose numbers are no definition
  command->add_option("-n,--max-tokens", a.more, "Tokens to continue with, the most probable ones")
      ->transform(between(int64_t{0}, int64_t{1} << 40))
      ->capture_default_str()
      ->excludes(verified);
  command->add_flag("--mtp", a.mtp, "Also of the MTP block's logits")->excludes(verified);
  add_plain(*command, a.plain);
  command->callback([arguments, verified, output, &action] {
    action = [arguments, verifies = verified->count() > 0, writes = output->count() > 0] {
      if (!verifies && !writes) throw UsageError("--output: name the file to write, or --verify one that is there");
      return verifies ? verify(*arguments) : make(*arguments);
    };
  });
}

}  // namespace v4rt::cli
