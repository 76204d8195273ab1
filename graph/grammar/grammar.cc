#include "graph/grammar/grammar.h"

#include <algorithm>

#include "ops/core/error.h"

namespace v4rt {
namespace {

constexpr size_t kMostInstructions = size_t{1} << 18;
constexpr int32_t kNever = INT32_MAX / 2;

}  // namespace

ByteSet byte_range(uint8_t low, uint8_t high) {
  ByteSet set;
  for (size_t byte = low; byte <= high; ++byte) set.set(byte);
  return set;
}

ByteSet byte_set(std::string_view bytes) {
  ByteSet set;
  for (const char byte : bytes) set.set(static_cast<unsigned char>(byte));
  return set;
}

GrammarBuilder::GrammarBuilder() { add({Kind::kReturn}); }

GrammarBuilder::Label GrammarBuilder::add(const Grammar::Instruction& instruction) {
  check(grammar_.program.size() < kMostInstructions, Code::kInvalidArgument,
        "the schema takes more than {} steps; make it smaller, or its counts", kMostInstructions);
  grammar_.program.push_back(instruction);
  return static_cast<Label>(grammar_.program.size()) - 1;
}

GrammarBuilder::Label GrammarBuilder::bytes(const ByteSet& set, Label next, int32_t run) {
  const auto [found, fresh] = sets_.try_emplace(set.to_string(), static_cast<int32_t>(grammar_.sets.size()));
  if (fresh) grammar_.sets.push_back(set);
  return add({.kind = Kind::kBytes, .next = next, .set = found->second, .run = run});
}

GrammarBuilder::Label GrammarBuilder::literal(std::string_view text, Label next) {
  for (size_t i = text.size(); i-- > 0;) next = bytes(byte_set(text.substr(i, 1)), next);
  return next;
}

GrammarBuilder::Label GrammarBuilder::one_of(std::vector<std::string> texts, Label next) {
  std::ranges::sort(texts);
  texts.erase(std::unique(texts.begin(), texts.end()), texts.end());
  return one_of(texts, 0, next);
}

// What follows `at` bytes on which all agree: few ways are open at once, however many texts there are.
GrammarBuilder::Label GrammarBuilder::one_of(std::span<const std::string> sorted, size_t at, Label next) {
  const std::string_view first = sorted.front(), last = sorted.back();
  if (sorted.size() == 1) return literal(first.substr(at), next);
  const auto differ = static_cast<size_t>(std::ranges::mismatch(first, last).in1 - first.begin());
  std::vector<Label> branches;
  for (size_t begin = 0, end = 0; begin < sorted.size(); begin = end) {
    const std::string_view byte = std::string_view(sorted[begin]).substr(differ, 1);
    while (end < sorted.size() && std::string_view(sorted[end]).substr(differ, 1) == byte) ++end;
    branches.push_back(byte.empty() ? next : one_of(sorted.subspan(begin, end - begin), differ, next));
  }
  return literal(first.substr(at, differ - at), either(branches));
}

GrammarBuilder::Label GrammarBuilder::either(Label a, Label b) { return a == b ? a : add({Kind::kSplit, a, b}); }

GrammarBuilder::Label GrammarBuilder::either(std::span<const Label> branches) {
  if (branches.empty()) return bytes({}, kReturn);
  Label all = branches.back();
  for (size_t i = branches.size() - 1; i-- > 0;) all = either(branches[i], all);
  return all;
}

void GrammarBuilder::define(Label place, Label is) {
  Grammar::Instruction& instruction = grammar_.program[static_cast<size_t>(place)];
  instruction.next = instruction.other = is;
}

Grammar GrammarBuilder::finish(Label begin, std::string_view what) {
  grammar_.begin = begin;
  measure_depth();
  check(grammar_.program[static_cast<size_t>(begin)].depth <= kMaxGrammarDepth, Code::kInvalidArgument,
        "{}: nothing is valid that could be written down", what);
  find_classes();
  return std::move(grammar_);
}

// From the return backwards, the least depths first: what is found then is final.
void GrammarBuilder::measure_depth() {
  std::vector<Grammar::Instruction>& program = grammar_.program;
  const auto leads_to = [](const Grammar::Instruction& i) {
    return std::pair(i.kind != Kind::kReturn ? i.next : -1,
                     i.kind == Kind::kSplit || i.kind == Kind::kCall ? i.other : -1);
  };
  // Who leads to an instruction: sources[first[label]] and the following, up to first[label + 1].
  std::vector<size_t> first(program.size() + 1);
  for (const Grammar::Instruction& i : program)
    for (const auto [a, b] = leads_to(i); const Label to : {a, b})
      if (to >= 0) ++first[static_cast<size_t>(to)];
  for (size_t i = 1; i < first.size(); ++i) first[i] += first[i - 1];
  std::vector<Label> sources(first.back());
  for (size_t i = 0; i < program.size(); ++i)
    for (const auto [a, b] = leads_to(program[i]); const Label to : {a, b})
      if (to >= 0) sources[--first[static_cast<size_t>(to)]] = static_cast<Label>(i);

  for (Grammar::Instruction& i : program) i.depth = kNever;
  const auto depth_of = [&](Label label) { return program[static_cast<size_t>(label)].depth; };
  std::vector<std::vector<Label>> found(kMaxGrammarDepth + 1);  // by depth
  found[0].push_back(kReturn);
  for (int32_t depth = 0; depth <= kMaxGrammarDepth; ++depth) {
    std::vector<Label>& here = found[static_cast<size_t>(depth)];
    for (size_t n = 0; n < here.size(); ++n) {
      const auto label = static_cast<size_t>(here[n]);
      if (program[label].depth != kNever) continue;
      program[label].depth = depth;
      for (size_t s = first[label]; s < first[label + 1]; ++s) {
        const Grammar::Instruction& source = program[static_cast<size_t>(sources[s])];
        if (source.depth != kNever) continue;
        if (source.kind == Kind::kBytes && grammar_.sets[static_cast<size_t>(source.set)].none()) continue;
        const int32_t its =
            source.kind == Kind::kCall ? std::max(depth_of(source.other) + 1, depth_of(source.next)) : depth;
        if (its <= kMaxGrammarDepth) found[static_cast<size_t>(its)].push_back(sources[s]);
      }
    }
  }
}

// Every set splits the classes that it holds in part.
void GrammarBuilder::find_classes() {
  grammar_.class_of.fill(0);
  size_t n = 1;
  for (const ByteSet& set : grammar_.sets) {
    std::map<std::pair<uint8_t, bool>, uint8_t> parts;
    for (size_t byte = 0; byte < 256; ++byte)
      grammar_.class_of[byte] =
          parts.try_emplace({grammar_.class_of[byte], set[byte]}, static_cast<uint8_t>(parts.size())).first->second;
    n = parts.size();
  }
  grammar_.bytes_of.resize(n);
  for (size_t byte = 0; byte < 256; ++byte) grammar_.bytes_of[grammar_.class_of[byte]] = static_cast<uint8_t>(byte);
}

}  // namespace v4rt
