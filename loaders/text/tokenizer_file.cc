#include "loaders/text/tokenizer_file.h"

#include <algorithm>
#include <optional>
#include <unordered_map>
#include <unordered_set>

#include "loaders/files/json_file.h"
#include "loaders/text/tokenizer_json.h"
#include "loaders/text/utf8.h"
#include "ops/core/error.h"

namespace v4rt {
namespace {

using Ids = std::unordered_map<std::string_view, int32_t>;  // the views are into the document

// The printable form of bytes in vocab and merges (GPT-2): a printable Latin-1 byte stands for itself, the other 68 in
// increasing order are U+0100 and up. This is the inverse: the byte of a code point, or -1.
std::array<int16_t, 0x100 + 68> byte_alphabet() {
  std::array<int16_t, 0x100 + 68> bytes;
  bytes.fill(-1);
  size_t next = 0x100;
  for (int16_t byte = 0; byte < 256; ++byte) {
    const bool printable = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte != 0xAD);
    bytes[printable ? static_cast<size_t>(byte) : next++] = byte;
  }
  return bytes;
}

// The bytes of a vocab entry; empty if it has a character outside the alphabet.
std::optional<std::string> bytes_of(std::string_view token) {
  static const auto alphabet = byte_alphabet();
  std::string bytes;
  for (size_t i = 0; i < token.size();) {
    const Utf8Unit unit = next_utf8(token.substr(i));
    if (unit.kind != Utf8Kind::kCharacter) return std::nullopt;
    const uint32_t code = decode_utf8(token.substr(i));
    if (code >= alphabet.size() || alphabet[code] < 0) return std::nullopt;
    bytes += static_cast<char>(alphabet[code]);
    i += unit.size;
  }
  return bytes;
}

// The entry of an id; the table grows if necessary.
std::string& entry_of(std::vector<std::string>& tokens, int32_t id) {
  const auto index = static_cast<size_t>(id);
  if (index >= tokens.size()) tokens.resize(index + 1);
  return tokens[index];
}

Ids read_vocab(const JsonNode& vocab, TokenizerFile& file) {
  Ids ids;
  std::array<bool, 256> have{};
  ids.reserve(vocab.object().size());
  for (const auto& [token, value] : vocab.object()) {
    const auto id = JsonNode::as_id(value);
    if (!id || token.empty()) {
      const int32_t named = JsonNode(&value, fmt::format("{}[{}]", vocab.place(), JsonNode::quoted(token))).id();
      fail(Code::kCorrupt, "{}: id {} is an empty string", vocab.place(), named);
    }
    std::string& bytes = entry_of(file.tokens, *id);
    if (!bytes.empty()) {
      fail(Code::kCorrupt, "{}: {} has id {}, which another entry has too", vocab.place(), JsonNode::quoted(token),
           *id);
    }
    ids.emplace(token, *id);
    // Entries outside the alphabet are added tokens that are also listed here; no merge makes them.
    const auto decoded = bytes_of(token);
    bytes = decoded.value_or(token);
    if (decoded && decoded->size() == 1) {
      const auto byte = static_cast<uint8_t>(decoded->front());
      file.byte_ids[byte] = *id;
      have[byte] = true;
    }
  }
  for (size_t byte = 0; byte < have.size(); ++byte) {
    check(have[byte], Code::kCorrupt, "{}: no entry for byte 0x{:02X}; byte-level BPE needs all 256", vocab.place(),
          byte);
  }
  return ids;
}

// A merge is ["left", "right"] or, as older writers have it, "left right".
std::pair<std::string_view, std::string_view> read_pair(const JsonNode& merges, size_t rank) {
  const Json& value = merges.array()[rank];
  if (value.is_array() && value.array().size() == 2 && std::ranges::all_of(value.array(), &Json::is_string)) {
    return {value.array()[0].string(), value.array()[1].string()};
  }
  if (value.is_string()) {
    const std::string_view text = value.string();
    const size_t space = text.find(' ');
    if (space != std::string_view::npos && text.find(' ', space + 1) == std::string_view::npos) {
      return {text.substr(0, space), text.substr(space + 1)};
    }
  }
  const JsonNode merge = merges.element(rank);
  fail(Code::kCorrupt, "{} is {}, expected \"left right\" or [\"left\", \"right\"]", merge.place(), merge.shown());
}

void read_merges(const JsonNode& merges, const Ids& ids, TokenizerFile& file) {
  const size_t size = merges.array().size();
  file.merges.reserve(size);
  std::unordered_set<uint64_t> pairs;
  pairs.reserve(size);
  for (size_t rank = 0; rank < size; ++rank) {
    const auto [left, right] = read_pair(merges, rank);
    const std::string joined = std::string(left).append(right);
    const auto id_of = [&](std::string_view token) {
      const auto found = ids.find(token);
      if (found == ids.end()) {
        fail(Code::kCorrupt, "{} makes {}, but {} is not in the vocab", merges.element(rank).place(),
             JsonNode::quoted(joined), JsonNode::quoted(token));
      }
      return found->second;
    };
    const Bpe::Merge merge{id_of(left), id_of(right), id_of(joined)};
    if (!pairs.insert(static_cast<uint64_t>(merge.left) << 32 | static_cast<uint64_t>(merge.right)).second) {
      fail(Code::kCorrupt, "{} joins {} and {}, as a merge before it does", merges.element(rank).place(),
           JsonNode::quoted(left), JsonNode::quoted(right));
    }
    file.merges.push_back(merge);
  }
}

// The search for added tokens takes time proportional to their length at every place where one could begin.
constexpr size_t kLongestAdded = 1024;

// Added tokens may be listed in the vocab too, as the same bytes under the same id.
void read_added(const JsonNode& list, const Ids& ids, TokenizerFile& file) {
  std::unordered_set<std::string_view> contents;
  for (size_t i = 0; i < list.array().size(); ++i) {
    const JsonNode token = list.element(i);
    const std::string& content = token.member("content").string();
    const std::string name = fmt::format("{}: {}", token.place(), JsonNode::quoted(content));
    const int32_t id = token.member("id").id();
    check(!content.empty(), Code::kCorrupt, "{} is an empty string", name);
    check(content.size() <= kLongestAdded, Code::kUnsupported, "{} has {} bytes; at most {} can be run", name,
          content.size(), kLongestAdded);
    check(contents.insert(content).second, Code::kCorrupt, "{} is listed twice", name);
    for (const char* key : {"lstrip", "rstrip", "single_word"}) {
      check(!token.member(key).flag(false), Code::kUnsupported, "{}: {} is true; only false can be run", name, key);
    }
    const auto in_vocab = ids.find(content);
    check(in_vocab == ids.end() || in_vocab->second == id, Code::kCorrupt, "{} has id {}, but another one in the vocab",
          name, id);
    std::string& bytes = entry_of(file.tokens, id);
    check(bytes.empty() || bytes == content, Code::kCorrupt, "{} has id {}, which another token has too", name, id);
    bytes = content;
    file.added.push_back({content, id});
  }
}

void read_model(const JsonNode& model, const JsonNode& added, TokenizerFile& file) {
  const JsonNode type = model.member("type");
  check(type.string() == "BPE", Code::kUnsupported, "{} is {}; only \"BPE\" can be run", type.place(), type.shown());
  for (const char* key : {"dropout", "continuing_subword_prefix", "end_of_word_suffix"}) {
    const JsonNode option = model.member(key);
    const bool idle = !option.present() || option.value() == "" || option.value() == 0;
    check(idle, Code::kUnsupported, "{} is {}; only null can be run", option.place(), option.shown());
  }
  for (const char* key : {"byte_fallback", "ignore_merges"}) {
    const JsonNode option = model.member(key);
    check(!option.flag(false), Code::kUnsupported, "{} is true; only false can be run", option.place());
  }
  const Ids ids = read_vocab(model.member("vocab"), file);
  read_merges(model.member("merges"), ids, file);
  if (added.present()) read_added(added, ids, file);
}

SplitRule read_split(const JsonNode& step) {
  const JsonNode behavior = step.member("behavior");
  check(behavior.string() == "Isolated", Code::kUnsupported, "{} is {}; only \"Isolated\" can be run", behavior.place(),
        behavior.shown());
  const JsonNode invert = step.member("invert");
  check(!invert.flag(false), Code::kUnsupported, "{} is true; only false can be run", invert.place());
  const JsonNode literal = step.member("pattern").member("String");
  if (literal.present()) return {literal.string(), true};
  return {step.member("pattern").member("Regex").string(), false};
}

// Any number of Split, then ByteLevel, which turns pieces into the byte alphabet and does nothing else here.
void read_pre_tokenizer(const JsonNode& root, TokenizerFile& file) {
  std::vector<JsonNode> steps{root};
  if (root.member("type").string() == "Sequence") {
    steps.clear();
    const JsonNode list = root.member("pretokenizers");
    for (size_t i = 0; i < list.array().size(); ++i) steps.push_back(list.element(i));
  }
  bool byte_level = false;
  for (const JsonNode& step : steps) {
    const JsonNode type = step.member("type");
    check(!byte_level, Code::kUnsupported, "{} follows ByteLevel, which must be the last step", step.place());
    if (type.string() == "Split") {
      file.splits.push_back(read_split(step));
    } else {
      check(type.string() == "ByteLevel", Code::kUnsupported, "{} is {}; only \"Split\" and \"ByteLevel\" can be run",
            type.place(), type.shown());
      // use_regex is true by default.
      check(!step.member("use_regex").flag(true) && !step.member("add_prefix_space").flag(false), Code::kUnsupported,
            "{}: use_regex and add_prefix_space must both be false", step.place());
      byte_level = true;
    }
  }
  check(byte_level, Code::kUnsupported, "{} has no ByteLevel step; only byte-level BPE can be run", root.place());
}

// The stages around the model that a byte-level tokenizer can do without.
void check_others(const JsonNode& document) {
  const JsonNode normalizer = document.member("normalizer");
  if (normalizer.present()) {
    const JsonNode type = normalizer.member("type");
    const bool idle = type.string() == "Sequence" && normalizer.member("normalizers").array().empty();
    check(idle, Code::kUnsupported, "{} is {}; only null or an empty Sequence can be run", normalizer.place(),
          type.shown());
  }
  for (const char* key : {"post_processor", "decoder"}) {
    const JsonNode stage = document.member(key);
    if (!stage.present()) continue;
    const JsonNode type = stage.member("type");
    check(type.string() == "ByteLevel", Code::kUnsupported, "{} is {}; only null or \"ByteLevel\" can be run",
          type.place(), type.shown());
  }
}

}  // namespace

TokenizerFile read_tokenizer_json(std::string_view json, const std::string& source) {
  const Json value = parse_json(json, source);
  const JsonNode document(&value, source + ": ");
  TokenizerFile file;
  check_others(document);
  read_pre_tokenizer(document.member("pre_tokenizer"), file);
  read_model(document.member("model"), document.member("added_tokens"), file);
  return file;
}

}  // namespace v4rt
