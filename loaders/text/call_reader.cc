#include "loaders/text/call_reader.h"

#include <algorithm>
#include <optional>

#include "loaders/files/json_file.h"
#include "loaders/text/chat_tools.h"
#include "ops/core/error.h"

namespace v4rt {
namespace {

using Symbols = std::u16string;
using SymbolsView = std::u16string_view;
using Kind = ReplyPiece::Kind;

constexpr char16_t kMarker = 0x100;  // bytes are below
constexpr char16_t kEndOfValue[] = {u'<', u'/', kMarker, 0};

Symbols symbols_of(std::string_view bytes) {
  Symbols symbols;
  for (const char byte : bytes) symbols += static_cast<unsigned char>(byte);
  return symbols;
}

std::string bytes_of(SymbolsView symbols) {
  std::string bytes;
  for (const char16_t symbol : symbols) {
    if (symbol == kMarker) {
      bytes += kDsmlToken;
    } else {
      bytes += static_cast<char>(symbol);
    }
  }
  return bytes;
}

bool is_space(char c) { return c == ' ' || c == '\n' || c == '\t' || c == '\r'; }

// &lt; and the like, which some models write in names.
std::string unescaped(std::string text) {
  static constexpr std::pair<std::string_view, std::string_view> kEntities[] = {
      {"&lt;", "<"}, {"&gt;", ">"}, {"&quot;", "\""}, {"&apos;", "'"}, {"&amp;", "&"}};
  for (const auto& [entity, character] : kEntities)
    for (size_t at = 0; (at = text.find(entity, at)) != std::string::npos; at += character.size())
      text.replace(at, entity.size(), character);
  return text;
}

// The value of an attribute in the text of a tag; nothing where there is none.
std::optional<std::string> attribute(std::string_view tag, std::string_view name) {
  const std::string opening = " " + std::string(name) + "=\"";
  const size_t begin = tag.find(opening);
  if (begin == std::string_view::npos) return std::nullopt;
  const size_t from = begin + opening.size(), end = tag.find('"', from);
  if (end == std::string_view::npos) return std::nullopt;
  return std::string(tag.substr(from, end - from));
}

// The ">" that ends a tag, outside of quotes.
size_t tag_end(SymbolsView symbols) {
  bool quoted = false;
  for (size_t i = 0; i < symbols.size(); ++i) {
    if (symbols[i] == u'"') quoted = !quoted;
    if (symbols[i] == u'>' && !quoted) return i;
  }
  return SymbolsView::npos;
}

bool is_json(const std::string& text) {
  try {
    parse_request_json(text, "");
    return true;
  } catch (const Error&) {
    return false;
  }
}

// The inside of a JSON string.
std::string escaped_text(std::string_view text) {
  const std::string quoted = json_string(text);
  return quoted.substr(1, quoted.size() - 2);
}

}  // namespace

struct CallReader::Tag {
  bool closes = false;
  std::string name, text;  // the text has the attributes
};

void CallReader::push(std::string_view bytes, std::vector<ReplyPiece>& out) {
  if (over_) return;
  if (!any_) raw_ += bytes;
  held_ += symbols_of(bytes);
  read(out);
}

void CallReader::push_marker(std::vector<ReplyPiece>& out) {
  if (over_) return;
  if (!any_) raw_ += kDsmlToken;
  held_ += kMarker;
  read(out);
}

void CallReader::flush(std::vector<ReplyPiece>& out) {
  if (!any_ && !raw_.empty()) {
    Utf8Stream whole;
    std::string text = whole.push(raw_);
    out.push_back({Kind::kContent, text + whole.flush()});
  }
  raw_.clear();
  over_ = true;
}

void CallReader::read(std::vector<ReplyPiece>& out) {
  while (!over_ && (in_value_ ? read_value(out) : read_tag(out))) continue;
}

// False when more has to come.
bool CallReader::read_tag(std::vector<ReplyPiece>& out) {
  held_.erase(0, std::min(held_.find(u'<'), held_.size()));
  const size_t marker = held_.size() > 1 && held_[1] == u'/' ? 2 : 1;
  if (held_.size() <= marker) return false;
  if (held_[marker] != kMarker) {
    held_.erase(0, 1);
    return true;
  }
  const size_t end = tag_end(held_);
  if (end == Symbols::npos) return false;
  Tag tag{.closes = marker == 2, .text = bytes_of(SymbolsView(held_).substr(marker + 1, end - marker - 1))};
  held_.erase(0, end + 1);
  const auto begin = std::find_if_not(tag.text.begin(), tag.text.end(), is_space);
  tag.name.assign(begin, std::find_if(begin, tag.text.end(), is_space));
  take(tag, out);
  return true;
}

void CallReader::take(const Tag& tag, std::vector<ReplyPiece>& out) {
  if (tag.name == "invoke") {
    end_call(out);
    const std::optional<std::string> name = attribute(tag.text, "name");
    if (tag.closes || !name) return;
    any_ = in_call_ = true;
    parameters_ = 0;
    out.push_back({Kind::kCall, unescaped(*name)});
  } else if (tag.name == "parameter") {
    const std::optional<std::string> name = attribute(tag.text, "name");
    if (tag.closes || !in_call_ || !name) return;
    in_value_ = true;
    is_text_ = attribute(tag.text, "string") == "true";
    utf8_ = {};
    const std::string_view separator = parameters_++ == 0 ? "{" : ", ";
    out.push_back(
        {Kind::kArguments, fmt::format("{}{}: {}", separator, json_string(unescaped(*name)), is_text_ ? "\"" : "")});
  } else if (tag.closes) {  // tool_calls, or what older and newer models call it
    end_call(out);
    flush(out);
  }
}

// Up to "</｜DSML｜", which is read as a tag then. False when more has to come.
bool CallReader::read_value(std::vector<ReplyPiece>& out) {
  const size_t end = held_.find(kEndOfValue);
  const bool whole = end != Symbols::npos;
  if (!whole && !is_text_) return false;
  size_t n = whole ? end : held_.size();
  if (!whole) n -= held_.ends_with(u'<') ? 1 : held_.ends_with(u"</") ? 2 : 0;
  const std::string bytes = bytes_of(SymbolsView(held_).substr(0, n));
  held_.erase(0, n);
  std::string text = utf8_.push(bytes);
  if (whole) text += utf8_.flush();
  if (is_text_) {
    text = escaped_text(text) + (whole ? "\"" : "");
  } else if (!is_json(text)) {
    text = json_string(text);
  }
  if (!text.empty()) out.push_back({Kind::kArguments, text});
  in_value_ = !whole;
  return whole;
}

void CallReader::end_call(std::vector<ReplyPiece>& out) {
  if (!in_call_) return;
  in_call_ = false;
  out.push_back({Kind::kArguments, parameters_ == 0 ? "{}" : "}"});
  out.push_back({Kind::kCallEnd});
}

}  // namespace v4rt
