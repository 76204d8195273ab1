#pragma once

#include <array>
#include <bitset>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace v4rt {

using ByteSet = std::bitset<256>;

// Control tokens in a grammar over bytes: bytes that no UTF-8 text has.
inline constexpr uint8_t kOtherToken = 0xfc;    // any that is not below
inline constexpr uint8_t kEndToken = 0xfd;      // the text ends
inline constexpr uint8_t kEndThinkByte = 0xfe;  // </think>
inline constexpr uint8_t kDsmlByte = 0xff;      // ｜DSML｜

// A language: a program for a machine that reads bytes, keeps a stack of places to return to, and follows all branches
// at once (automaton.h). A text belongs to it as long as one branch is left.
struct Grammar {
  using Label = int32_t;  // an instruction
  struct Instruction {
    enum class Kind : uint8_t { kBytes, kSplit, kCall, kReturn } kind = Kind::kReturn;
    Label next = 0;   // kBytes: after one of `set`; kSplit: a branch; kCall: where to return to
    Label other = 0;  // kSplit: the other branch; kCall: what is called
    int32_t set = 0;  // kBytes: which of `sets`
    int32_t run =
        0;  // kBytes: so many characters may come here whatever they are, but for control characters, " and \ .
    int32_t depth = 0;  // the least height of the stack that it takes to get from here to the return
  };

  std::vector<Instruction> program;
  std::vector<ByteSet> sets;
  std::array<uint8_t, 256> class_of;  // bytes that no set tells apart have the same class
  std::vector<uint8_t> bytes_of;      // one byte of each class
  Label begin = 0;
};

// What a stack may hold. A branch that could not be completed within it is not entered, so that what was begun can
// always be completed: JSON may be nested as deep as parsers take it, and no deeper.
inline constexpr int32_t kMaxGrammarDepth = 160;
inline constexpr int32_t kAnyRun = INT32_MAX;  // Grammar::Instruction::run without an end

// Programs are written from their end: each part is told what follows it.
class GrammarBuilder {
 public:
  using Label = Grammar::Label;
  static constexpr Label kReturn = 0;  // the end of what is called

  GrammarBuilder();

  Label bytes(const ByteSet& set, Label next, int32_t run = 0);
  Label literal(std::string_view text, Label next);
  Label one_of(std::vector<std::string> texts, Label next);
  Label either(Label a, Label b);
  Label either(std::span<const Label> branches);  // of none, nothing is possible
  Label call(Label rule, Label next) { return next == kReturn ? rule : add({Kind::kCall, next, rule}); }

  // A place that others may lead to before it is known what it is.
  Label declare() { return add({Kind::kSplit}); }
  void define(Label place, Label is);

  // Between `least` and `most` times what `part` makes of what follows.
  template <class Part>
  Label repeat(int64_t least, int64_t most, Label next, const Part& part) {
    Label entry = next;
    const auto prepend = [&](int64_t n, const auto& more) {
      for (Label before = -1; n > 0 && entry != before; --n) {
        before = entry;
        entry = more();  // the same: there is nothing in it
      }
    };
    prepend(most - least, [&] { return either(part(entry), next); });
    prepend(least, [&] { return part(entry); });
    return entry;
  }

  // Throws Error(kInvalidArgument), naming `what`, when there is no text that belongs to the language.
  Grammar finish(Label begin, std::string_view what);

 private:
  using Kind = Grammar::Instruction::Kind;
  Label add(const Grammar::Instruction& instruction);
  Label one_of(std::span<const std::string> sorted, size_t at, Label next);
  void measure_depth();
  void find_classes();

  Grammar grammar_;
  std::map<std::string, int32_t> sets_;
};

ByteSet byte_range(uint8_t low, uint8_t high);
ByteSet byte_set(std::string_view bytes);

}  // namespace v4rt
