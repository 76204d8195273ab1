#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace v4rt {

// A stretch of text. A control part is one added token ("<｜User｜>"); any other part is text, whatever it says.
struct TextPart {
  std::string text;
  bool control = false;
};

// Byte-level BPE from tokenizer.json, the pre-tokenizer's regexes taken from the file. Immutable; safe to share between
// threads. Encoding never adds BOS. Text need not be UTF-8: decode(encode(text)) == text for all bytes; each run of
// bytes that are not UTF-8 is encoded separately from its surroundings.
class Tokenizer {
 public:
  // Throws Error naming the file and what is wrong with it.
  static std::shared_ptr<const Tokenizer> open(const std::string& tokenizer_json_path);
  static std::shared_ptr<const Tokenizer> parse(std::string_view json, std::string_view source_name);
  ~Tokenizer();

  // With `added`, added tokens in the text ("<think>", "<｜User｜>") become their ids: leftmost first, longest first.
  // Without, they are text: that is the way to encode untrusted text.
  std::vector<int32_t> encode(std::string_view text, bool added = true) const;
  // Text parts in a row are encoded as one text. Throws Error for a control part that is not an added token.
  std::vector<int32_t> encode(std::span<const TextPart> parts) const;
  std::vector<std::string> pretokenize(std::string_view text) const;  // the pieces that BPE sees; for tests
  std::string decode(std::span<const int32_t> ids) const;             // bytes, not checked to be UTF-8
  std::string_view token_bytes(int32_t id) const;                     // empty for an id outside the vocabulary
  std::optional<int32_t> find_added(std::string_view content) const;
  bool is_added(int32_t id) const;
  int64_t vocab_size() const;  // highest id + 1

 private:
  struct Impl;
  explicit Tokenizer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// Turns bytes of tokens into text that can be shown. push() returns what is certain: complete UTF-8 characters, and
// U+FFFD for bytes that cannot become one. It holds back at most 3 bytes, the start of a character; flush(), at the
// end, turns them into one U+FFFD.
class Utf8Stream {
 public:
  std::string push(std::string_view bytes);
  std::string flush();

 private:
  std::string pending_;
};

}  // namespace v4rt
