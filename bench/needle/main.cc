// Needle in a haystack: how well a model finds a fact again, by its depth in contexts of several lengths, as it is and
// with an indexer that selects everything.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>

#include "bench/needle/haystack.h"
#include "bench/needle/plot.h"
#include "graph/runtime/session.h"
#include "loaders/checkpoint/checkpoint.h"

namespace v4rt::needle {
namespace {

struct Arguments {
  std::string model = V4RT_MINI_PATH, device = "cpu", output;
  std::vector<int64_t> contexts = {128, 256, 512, 1024};
  int64_t all_up_to = INT64_MAX;
  int depths = 11, trials = 20, chunk = 0;
  uint64_t seed = 1;
};

// A checkpoint whose indexer keeps another number of entries.
class WithTopK final : public WeightSource {
 public:
  WithTopK(std::shared_ptr<const WeightSource> weights, int top_k)
      : weights_(std::move(weights)), config_(weights_->config()) {
    config_.index_topk = top_k;
  }
  const V4Config& config() const override { return config_; }
  bool has(std::string_view name) const override { return weights_->has(name); }
  TensorType type(std::string_view name) const override { return weights_->type(name); }
  ActivationRounding activation_rounding(std::string_view name) const override {
    return weights_->activation_rounding(name);
  }
  WeightView get(std::string_view name) const override { return weights_->get(name); }
  void check_values(std::string_view name) const override { weights_->check_values(name); }
  void release(const WeightView& view) const override { weights_->release(view); }
  bool is_mapped(std::span<const std::byte> bytes) const override { return weights_->is_mapped(bytes); }
  void check_intact() const override { weights_->check_intact(); }

 private:
  std::shared_ptr<const WeightSource> weights_;
  V4Config config_;
};

// By depth, of all trials: how often the value was the likeliest of all tokens, and of those that begin a value.
struct Recall {
  int64_t context;
  int top_k;
  std::vector<double> recalled, chosen;
};

size_t likeliest(std::span<const float> logits) {
  return static_cast<size_t>(std::ranges::max_element(logits) - logits.begin());
}

int32_t likeliest_value(const Haystack& haystack, std::span<const float> logits) {
  return std::ranges::max(haystack.values(), {}, [&](int32_t id) { return logits[static_cast<size_t>(id)]; });
}

double depth_of(int i, int depths) { return depths > 1 ? i / (depths - 1.0) : 0.5; }

// The lines before a needle are read once: the needles of a trial go in by rising depth, each on a state that is put
// back.
Recall measure(const Arguments& a, const std::shared_ptr<const WeightSource>& weights, const Tokenizer& tokenizer,
               int64_t context) {
  ModelOptions options{.device = a.device};
  options.context = context;
  options.chunk = a.chunk;
  Session session(Model::open(weights, options));
  Recall recall{context, weights->config().index_topk, {}, {}};
  recall.recalled.resize(static_cast<size_t>(a.depths)), recall.chosen = recall.recalled;
  for (int trial = 0; trial < a.trials; ++trial) {
    const Haystack haystack(tokenizer, context, a.seed + static_cast<uint64_t>(trial));
    session.reset();
    for (size_t i = 0; i < recall.recalled.size(); ++i) {
      const double depth = depth_of(static_cast<int>(i), a.depths);
      const std::span<const int32_t> unread = haystack.before(depth).subspan(static_cast<size_t>(session.position()));
      if (!unread.empty()) session.feed(unread);
      const Snapshot before = session.snapshot();
      const std::span<const float> logits = session.feed(haystack.rest(depth));
      if (likeliest(logits) == static_cast<size_t>(haystack.value())) recall.recalled[i] += 1.0 / a.trials;
      if (likeliest_value(haystack, logits) == haystack.value()) recall.chosen[i] += 1.0 / a.trials;
      session.restore(before);
    }
    std::fprintf(stderr, "\rcontext %lld, top %d: %d of %d", static_cast<long long>(context), recall.top_k, trial + 1,
                 a.trials);
  }
  std::fprintf(stderr, "\n");
  return recall;
}

std::string table(const Arguments& a, const std::vector<Recall>& results, std::vector<double> Recall::*values) {
  std::string text = "| context | index_topk |";
  for (int i = 0; i < a.depths; ++i) text += fmt::format(" {:.0f} % |", 100 * depth_of(i, a.depths));
  text += "\n|---:|---:|";
  for (int i = 0; i < a.depths; ++i) text += "---:|";
  for (const Recall& r : results) {
    text += fmt::format("\n| {} | {} |", r.context, r.top_k);
    for (const double value : r.*values) text += fmt::format(" {:.0f} |", 100 * value);
  }
  return text + "\n";
}

std::string plot(const Arguments& a, const std::vector<Recall>& own, const std::vector<Recall>& all, double chance) {
  std::vector<Panel> panels;
  const auto add = [&](const std::string& title, const std::vector<Recall>& results,
                       std::vector<double> Recall::*values, double by_chance) {
    Panel& panel = panels.emplace_back(Panel{title, {}, by_chance});
    for (const Recall& r : results) panel.lines.push_back({fmt::format("{} tokens", r.context), r.*values});
  };
  const std::string selected = fmt::format("index_topk = {}", own.front().top_k);
  add(fmt::format("recalled, {}", selected), own, &Recall::recalled, 0);
  add("recalled, index_topk = all", all, &Recall::recalled, 0);
  add(fmt::format("chosen among the values, {}", selected), own, &Recall::chosen, chance);
  add("chosen among the values, index_topk = all", all, &Recall::chosen, chance);
  return svg(fmt::format("A fact found again, {} trials a point", a.trials), "depth of the fact", panels, 2);
}

void run(const Arguments& a) {
  const Checkpoint checkpoint = open_checkpoint(a.model);
  const auto tokenizer = Tokenizer::open((std::filesystem::path(checkpoint.folder) / "tokenizer.json").string());
  std::vector<Recall> own, all;
  for (const int64_t context : a.contexts) {
    own.push_back(measure(a, checkpoint.weights, *tokenizer, context));
    if (context > a.all_up_to) continue;
    const auto everything = std::make_shared<WithTopK>(checkpoint.weights, static_cast<int>(context / 4 + 1));
    all.push_back(measure(a, everything, *tokenizer, context));
  }
  std::vector<Recall> both = own;
  both.insert(both.end(), all.begin(), all.end());
  std::ranges::stable_sort(both, {}, &Recall::context);
  fmt::print("Recalled, % of {} trials, by depth:\n\n{}\n", a.trials, table(a, both, &Recall::recalled));
  fmt::print("Chosen among the values:\n\n{}", table(a, both, &Recall::chosen));
  if (a.output.empty()) return;
  const double chance = 1.0 / static_cast<double>(Haystack(*tokenizer, a.contexts.front(), a.seed).values().size());
  std::ofstream file(a.output);
  file << plot(a, own, all, chance);
  check(file.flush().good(), Code::kInvalidArgument, "{}: cannot be written", a.output);
}

int needle(int argc, char** argv) {
  Arguments a;
  CLI::App app{"How well a model finds a fact again, by its depth in the context: a table, and a plot as SVG."};
  app.add_option("MODEL", a.model, "A folder or a .safetensors file (default: the embedded model)");
  app.add_option("-c,--contexts", a.contexts, "Tokens of the haystacks, with commas between")
      ->delimiter(',')
      ->check(CLI::Range(32, 1 << 20))
      ->capture_default_str();
  app.add_option("--all-up-to", a.all_up_to,
                 "Repeat contexts up to this length with index_topk = all (default: every one)");
  app.add_option("--depths", a.depths, "Places of the fact, from the start to the end")
      ->check(CLI::Range(1, 101))
      ->capture_default_str();
  app.add_option("--trials", a.trials, "Haystacks of each length")->check(CLI::Range(1, 10000))->capture_default_str();
  app.add_option("--seed", a.seed, "Of the haystacks")->capture_default_str();
  app.add_option("--device", a.device, "As for v4rt run")->capture_default_str();
  app.add_option("--chunk", a.chunk, "Tokens read at once (default: as v4rt run)")->check(CLI::Range(1, 1 << 16));
  app.add_option("-o,--output", a.output, "The plot, an SVG file");
  CLI11_PARSE(app, argc, argv);
  run(a);
  return 0;
}

}  // namespace
}  // namespace v4rt::needle

int main(int argc, char** argv) {
  try {
    return v4rt::needle::needle(argc, argv);
  } catch (const std::exception& e) {
    fmt::print(stderr, "needle: {}\n", e.what());
    return 1;
  }
}
