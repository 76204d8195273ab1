#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "examples/cli/command.h"
#include "examples/cli/format.h"
#include "examples/cli/input.h"
#include "examples/cli/interrupt.h"
#include "examples/cli/model_options.h"
#include "examples/cli/option_checks.h"
#include "examples/cli/terminal.h"
#include "graph/runtime/session.h"

namespace v4rt::cli {
namespace {

struct PerplexityArguments {
  ModelArguments model;
  std::string file;
  bool json = false, plain = false;
};

// -ln softmax(logits)[id]
double negative_log_likelihood(std::span<const float> logits, int32_t id) {
  const double greatest = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits) sum += std::exp(logit - greatest);
  return greatest + std::log(sum) - logits[static_cast<size_t>(id)];
}

int perplexity(const PerplexityArguments& arguments) {
  check_output();
  const Checkpoint checkpoint = open_files(arguments.model);
  const std::string text = read_text(arguments.file);
  const std::vector<int32_t> ids =
      encode_text(*open_tokenizer(checkpoint), text, checkpoint.weights->config(), arguments.plain);
  check(ids.size() > 1, Code::kInvalidArgument, "{}: holds no text; perplexity needs at least one token",
        arguments.file);
  const InterruptGuard interrupt(InterruptGuard::Mode::kOnce);
  const auto model = open_model(checkpoint, arguments.model, static_cast<int64_t>(ids.size()));

  Session session(model);
  Progress progress("scoring");
  double sum = 0;
  int64_t scored = 0;
  const double begin = seconds_since_start();
  const auto total = static_cast<int64_t>(ids.size()) - 1;
  session.score(ids, [&](int64_t i, std::span<const float> logits, std::span<const float>) {
    if (InterruptGuard::raised()) throw Interrupted();
    if (i == total) return;
    sum += negative_log_likelihood(logits, ids[static_cast<size_t>(i) + 1]);
    ++scored;
    progress.update(static_cast<double>(scored) / static_cast<double>(total),
                    fmt::format("{} of {} tokens, perplexity so far {:.3f}", scored, total,
                                std::exp(sum / static_cast<double>(scored))));
  });
  progress.clear();
  const double mean = sum / static_cast<double>(total);
  const double seconds = seconds_since_start() - begin;
  if (arguments.json) {
    const nlohmann::ordered_json json = {{"perplexity", std::exp(mean)},
                                         {"mean_negative_log_likelihood", mean},
                                         {"tokens", total},
                                         {"seconds", seconds}};
    print(json_text(json));
    return kSuccess;
  }
  print(fmt::format("perplexity {:.6f}\n", std::exp(mean)));
  say(fmt::format("mean negative log likelihood {:.8f} over {} tokens, {:.3f} s, {:.1f} tokens/s\n", mean, total,
                  seconds, static_cast<double>(total) / seconds));
  return kSuccess;
}

}  // namespace

void add_perplexity(CLI::App& app, Action& action) {
  auto arguments = std::make_shared<PerplexityArguments>();
  CLI::App* command = app.add_subcommand(
      "perplexity",
      "How surprised the model is by a text: exp of the mean negative log likelihood of its tokens after BOS.");
  add_model(*command, arguments->model);
  command->add_option("-f,--file", arguments->file, "A file that holds the text; - is standard input")
      ->required()
      ->check(nonempty());
  add_plain(*command, arguments->plain);
  command->add_flag("--json", arguments->json, "Print JSON");
  add_options(*command, arguments->model);
  command->callback([arguments, &action] { action = [arguments] { return perplexity(*arguments); }; });
}

}  // namespace v4rt::cli
