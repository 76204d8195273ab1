// tokenizer.json, and after a zero byte the text to encode with it. The file is read twice: as it is, and with its
// vocabulary completed to all 256 bytes, without which nothing would get as far as encoding.

#include "loaders/text/tokenizer.h"

#include <nlohmann/json.hpp>
#include <set>

#include "ops/core/error.h"
#include "tests/fuzz/target.h"

namespace v4rt::fuzz {
namespace {

using Json = nlohmann::json;

// GPT-2's printable forms of the 256 bytes: Latin-1 where it is printable, else U+0100 and up.
std::vector<std::string> byte_alphabet() {
  std::vector<std::string> forms;
  int next = 0x100;
  for (int byte = 0; byte < 256; ++byte) {
    const bool printable = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte != 0xAD);
    const int code = printable ? byte : next++;
    if (code < 0x80) {
      forms.emplace_back(1, static_cast<char>(code));
    } else {
      forms.push_back({static_cast<char>(0xC0 | code >> 6), static_cast<char>(0x80 | (code & 0x3F))});
    }
  }
  return forms;
}

void collect_ids(const Json& value, std::set<int64_t>& ids) {
  if (value.is_number_integer()) ids.insert(value.get<int64_t>());
  if (value.is_structured()) {
    for (const Json& element : value) collect_ids(element, ids);
  }
}

// Empty if the text is not the beginning of such a file.
std::string with_all_bytes(std::string_view json) {
  static const std::vector<std::string> forms = byte_alphabet();
  Json document = Json::parse(json, nullptr, false);
  if (!document.is_object() || !document.contains("model") || !document["model"].is_object()) return {};
  Json& vocab = document["model"]["vocab"];
  if (!vocab.is_object() && !vocab.is_null()) return {};
  std::set<int64_t> taken;
  collect_ids(vocab, taken);
  if (document.contains("added_tokens")) collect_ids(document["added_tokens"], taken);
  int64_t id = 0;
  for (const std::string& form : forms) {
    if (vocab.contains(form)) continue;
    while (taken.contains(id)) ++id;
    vocab[form] = id++;
  }
  return document.dump(-1, ' ', false, Json::error_handler_t::replace);
}

void check_round_trip(const Tokenizer& tokenizer, std::string_view text) {
  for (const bool added : {true, false}) {
    const std::vector<int32_t> ids = tokenizer.encode(text, added);
    for (const int32_t id : ids) require(id >= 0 && id < tokenizer.vocab_size(), "an id outside the vocabulary");
    require(tokenizer.decode(ids) == text, "ids that do not mean the text");
  }
  Utf8Stream stream;
  std::string shown;
  for (const int32_t id : tokenizer.encode(text)) shown += stream.push(tokenizer.token_bytes(id));
  shown += stream.flush();
  require(Json(shown).dump().size() > 1, "a stream that is not UTF-8");  // dump() throws for text that is not UTF-8
}

}  // namespace

void read(std::string_view input) {
  const size_t end = input.find('\0');
  const std::string_view json = input.substr(0, end);
  const std::string_view text = end == std::string_view::npos ? "def f(x): don't 123\r\n\xff" : input.substr(end + 1);
  if (const std::string whole = with_all_bytes(json); !whole.empty()) {
    try {
      check_round_trip(*Tokenizer::parse(whole, "tokenizer.json"), text);
    } catch (const Error&) {
    }
  }
  check_round_trip(*Tokenizer::parse(json, "tokenizer.json"), text);
}

}  // namespace v4rt::fuzz
