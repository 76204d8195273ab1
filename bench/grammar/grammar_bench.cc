// What it costs to hold a text to a JSON schema, with the vocabulary of a tokenizer.json: the trie, the grammar, and
// the masks of texts of random tokens, each text by a matcher of its own as a server makes one.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <fstream>
#include <iterator>
#include <random>

#include "graph/grammar/reply_grammar.h"
#include "graph/grammar/token_matcher.h"
#include "loaders/files/json_file.h"

namespace v4rt {
namespace {

using Clock = std::chrono::steady_clock;

constexpr char kSchema[] = R"({"type":"object","properties":{"title":{"type":"string"},"year":{"type":"integer"},
  "tags":{"type":"array","items":{"type":"string"},"maxItems":5},"author":{"type":"object","properties":{
  "name":{"type":"string"},"email":{"type":["string","null"]}},"required":["name","email"]},
  "kind":{"enum":["book","film","song"]},"score":{"type":"number"}},
  "required":["title","year","tags","author","kind","score"],"additionalProperties":false})";

struct Options {
  std::string tokenizer, schema;
  int texts = 50, tokens = 200;
};

double microseconds(Clock::time_point from) {
  return std::chrono::duration<double, std::micro>(Clock::now() - from).count();
}

std::string quantiles(std::vector<double> times) {
  std::ranges::sort(times);
  double sum = 0;
  for (const double time : times) sum += time;
  const auto at = [&](double share) {
    return times[static_cast<size_t>(share * static_cast<double>(times.size() - 1))];
  };
  return fmt::format("{:.1f} us on average, half within {:.1f}, 99 % within {:.1f}, at most {:.1f}",
                     sum / static_cast<double>(times.size()), at(0.5), at(0.99), at(1));
}

void run(const Options& options) {
  const auto tokenizer = Tokenizer::open(options.tokenizer);
  const int32_t end = tokenizer->find_added("<｜end▁of▁sentence｜>").value_or(1);
  auto start = Clock::now();
  const auto trie = std::make_shared<const TokenTrie>(*tokenizer, tokenizer->vocab_size(), std::span(&end, 1));
  fmt::print("{} tokens: the trie takes {:.1f} ms\n", tokenizer->vocab_size(), microseconds(start) / 1000);

  std::string text = kSchema;
  if (!options.schema.empty()) {
    std::ifstream file(options.schema);
    text.assign(std::istreambuf_iterator<char>(file), {});
  }
  const Json json = parse_request_json(text, options.schema);
  start = Clock::now();
  const auto grammar = reply_grammar({.schema = JsonField(json, "the schema")});
  fmt::print("the grammar: {} steps, {:.0f} us\n", grammar->program.size(), microseconds(start));

  std::mt19937 random(1);
  std::vector<double> begun, masks, accepted;
  std::vector<int32_t> ids;
  for (int i = 0; i < options.texts; ++i) {
    start = Clock::now();
    TokenMatcher matcher(grammar, trie);
    begun.push_back(microseconds(start));
    for (int n = 0; n < options.tokens; ++n) {
      start = Clock::now();
      const std::span<const uint64_t> mask = matcher.allowed();
      masks.push_back(microseconds(start));
      ids.clear();
      for (int32_t id = 0; id < tokenizer->vocab_size(); ++id)
        if ((mask[static_cast<size_t>(id) / 64] >> (id % 64) & 1) != 0) ids.push_back(id);
      const int32_t id = ids[random() % ids.size()];
      if (id == end) break;
      start = Clock::now();
      matcher.accept(id);
      accepted.push_back(microseconds(start));
    }
  }
  fmt::print("a matcher: {}\n{} masks: {}\na token: {}\n", quantiles(begun), masks.size(), quantiles(masks),
             quantiles(accepted));
}

}  // namespace
}  // namespace v4rt

int main(int argc, char** argv) {
  v4rt::Options options;
  CLI::App app("What masks of a JSON schema cost");
  app.add_option("tokenizer", options.tokenizer, "A tokenizer.json")->required();
  app.add_option("--schema", options.schema, "A file with a JSON schema (default: one of books)");
  app.add_option("--texts", options.texts)->check(CLI::PositiveNumber)->capture_default_str();
  app.add_option("--tokens", options.tokens, "Of a text at most")->check(CLI::PositiveNumber)->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  try {
    v4rt::run(options);
    return 0;
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 1;
  }
}
