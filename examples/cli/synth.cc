#include <fmt/format.h>

#include "examples/cli/command.h"
#include "examples/cli/interrupt.h"
#include "examples/cli/option_checks.h"
#include "examples/cli/terminal.h"
#include "loaders/synthetic/synthetic_checkpoint.h"
#include "loaders/synthetic/v4_release.h"
#include "loaders/text/utf8.h"
#include "ops/core/human.h"

namespace v4rt::cli {
namespace {

struct SynthArguments {
  std::string release, output;
  int layers = 0;  // 0: as many as --ratios, or 5
  int experts = 32;
  int64_t vocab = 4096;
  std::vector<int> ratios;
  uint64_t seed = 0;
  bool mtp = false, force = false;
};

// The released architecture with fewer layers, experts and tokens; the work for a token in each layer stays the same.
V4Config reduced_config(const SynthArguments& a) {
  V4Config config = a.release == "pro" ? v4_pro_config() : v4_flash_config();
  const auto given = static_cast<int>(a.ratios.size());
  const int layers = a.layers > 0 ? a.layers : given > 0 ? given : 5;
  if (given > 0 && given != layers)
    throw UsageError(fmt::format("--ratios: {} of them for --layers {}; give one for each layer", given, layers));
  if (given == 0 && layers > config.num_layers)
    throw UsageError(fmt::format("--layers {}: the model has {}; give --ratios for more", layers, config.num_layers));
  if (given > 0) config.compress_ratios = a.ratios;
  config.compress_ratios.resize(static_cast<size_t>(layers));
  config.compress_ratios.push_back(0);  // of the MTP block
  config.num_layers = layers;
  config.num_hash_layers = std::min(config.num_hash_layers, layers);
  config.num_experts = a.experts;
  config.vocab_size = a.vocab;
  config.has_mtp = a.mtp;
  return config;
}

int synth(const SynthArguments& a) {
  const V4Config config = reduced_config(a);
  SyntheticOptions options;
  options.seed = a.seed;
  options.replace = a.force;
  const InterruptGuard interrupt(InterruptGuard::Mode::kOnce);
  Progress progress("writing");
  options.progress = [&](int64_t done, int64_t total) {
    if (InterruptGuard::raised()) throw Interrupted();
    progress.update(static_cast<double>(done) / static_cast<double>(total),
                    fmt::format("{} of {}", human_bytes(done), human_bytes(total)));
  };
  const double begin = seconds_since_start();
  const SyntheticSummary written = write_synthetic_checkpoint(config, a.output, options);
  progress.clear();
  const double seconds = seconds_since_start() - begin, bytes = static_cast<double>(written.bytes);
  say(fmt::format("{}: {} in {} tensors and {} shard{}, {:.2f} s, {:.0f} MB/s\n", escaped(a.output), human_bytes(bytes),
                  written.tensors, written.shards, written.shards == 1 ? "" : "s", seconds, bytes / 1e6 / seconds));
  return kSuccess;
}

}  // namespace

void add_synth(CLI::App& app, Action& action) {
  auto arguments = std::make_shared<SynthArguments>();
  CLI::App* command = app.add_subcommand(
      "synth",
      "Write a checkpoint to measure with: the true widths of V4-Flash or V4-Pro, fewer layers, experts and tokens, "
      "random weights, no tokenizer.");
  SynthArguments& a = *arguments;
  command->add_option("RELEASE", a.release, "flash or pro")->check(CLI::IsMember({"flash", "pro"}))->required();
  command->add_option("-o,--output", a.output, "The folder to write to")->required()->check(nonempty());
  command->add_option("--layers", a.layers, "Layers (default: 5, or one for each of --ratios)")
      ->transform(between(1, 1024));
  command->add_option("--experts", a.experts, "Routed experts a layer; a token still uses 6 of them")
      ->transform(between(6, 4096))
      ->capture_default_str();
  command->add_option("--vocab", a.vocab, "Tokens of the vocabulary")
      ->transform(between(2, 1 << 24))
      ->capture_default_str();
  command
      ->add_option("--ratios", a.ratios,
                   "Compress ratio of each layer, 0, 4 or 128, with commas between (default: the model's first layers)")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(CLI::IsMember({"0", "4", "128"}));
  command->add_option("--seed", a.seed, "Of the weights: the same for the same seed")
      ->transform(between(uint64_t{0}, UINT64_MAX))
      ->capture_default_str();
  command->add_flag("--mtp", a.mtp, "Also the MTP block");
  command->add_flag("--force", a.force, "Replace a checkpoint that is in the folder");
  command->callback([arguments, &action] { action = [arguments] { return synth(*arguments); }; });
}

}  // namespace v4rt::cli
