#include "bench/needle/haystack.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <string>

#include "loaders/text/chat_encoding.h"
#include "ops/core/error.h"

namespace v4rt::needle {
namespace {

constexpr std::string_view kValues[] = {"river",  "stone",  "apple",  "cloud",  "tiger",  "garden",
                                        "violin", "silver", "orange", "forest", "castle", "dragon"};
constexpr std::string_view kFiller[] = {"window", "button", "summer", "winter", "planet", "bridge", "mirror",
                                        "coffee", "island", "rocket", "pencil", "market", "candle"};
constexpr int kWordsOfALine = 3;

void append(std::vector<int32_t>& ids, std::span<const int32_t> more) {
  ids.insert(ids.end(), more.begin(), more.end());
}

}  // namespace

Haystack::Haystack(const Tokenizer& tokenizer, int64_t tokens, uint64_t seed) {
  std::mt19937_64 random(seed);
  const auto pick = [&](std::span<const std::string_view> words) { return words[random() % words.size()]; };

  const size_t chosen = random() % std::size(kValues);
  for (size_t i = 0; i < std::size(kValues); ++i) {
    const std::string_view word = kValues[(chosen + i) % std::size(kValues)];
    values_.push_back(tokenizer.encode(fmt::format(" {}", word), /*added=*/false).front());
  }
  std::vector<int32_t> sorted = values_;
  std::ranges::sort(sorted);
  check(std::ranges::adjacent_find(sorted) == sorted.end(), Code::kUnsupported,
        "two of the words that are hidden begin with the same token: this tokenizer cannot tell the answers apart");

  const auto key = 10 + random() % 90;
  needle_ = tokenizer.encode(fmt::format("key {}: {}\n", key, kValues[chosen]), false);
  // The question is its own text: what the encoding writes around the lines is around it.
  const std::vector<TextPart> parts = render_chat({{"user", fmt::format("What is key {}?", key), {}}}, {});
  const auto question = std::ranges::find(parts, false, &TextPart::control);
  head_ = tokenizer.encode(std::span(parts.begin(), question));
  question_ = tokenizer.encode(std::span(question, parts.end()));
  append(question_, tokenizer.encode(fmt::format("Key {} is", key), false));

  check(size() <= tokens, Code::kInvalidArgument, "a context of {} tokens: needle and question alone take {}", tokens,
        size());
  while (true) {
    line_starts_.push_back(head_.size());
    std::string line;
    for (int i = 0; i < kWordsOfALine; ++i) line += fmt::format("{}{}", i == 0 ? "" : " ", pick(kFiller));
    const std::vector<int32_t> ids = tokenizer.encode(line + "\n", false);
    if (size() + static_cast<int64_t>(ids.size()) > tokens) return;
    append(head_, ids);
  }
}

size_t Haystack::place(double depth) const {
  return line_starts_[static_cast<size_t>(std::lround(depth * static_cast<double>(line_starts_.size() - 1)))];
}

std::span<const int32_t> Haystack::before(double depth) const { return std::span(head_).first(place(depth)); }

std::vector<int32_t> Haystack::rest(double depth) const {
  std::vector<int32_t> ids = needle_;
  append(ids, std::span(head_).subspan(place(depth)));
  append(ids, question_);
  return ids;
}

}  // namespace v4rt::needle
