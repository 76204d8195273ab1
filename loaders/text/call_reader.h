#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "loaders/text/tokenizer.h"

namespace v4rt {

struct ReplyPiece {
  // A call begins with its name, has its arguments in pieces, which together are a JSON object, and ends. One that
  // does not end was cut, and is none.
  enum class Kind : uint8_t { kReasoning, kContent, kCall, kArguments, kCallEnd };
  Kind kind = Kind::kContent;
  std::string text = {};  // whole characters
};

// Reads a block of calls as a model writes it, piece by piece:
//
//   <｜DSML｜tool_calls>
//   <｜DSML｜invoke name="NAME">
//   <｜DSML｜parameter name="KEY" string="true">VALUE</｜DSML｜parameter>
//   </｜DSML｜invoke>
//   </｜DSML｜tool_calls>
//
// ｜DSML｜ is a token: the same characters in a value are text. White space between tags is free, the names of V3.2 and
// V4.1 are known too, and whatever does not belong to a block is passed over. A value is text where string="true", and
// elsewhere JSON; what should be JSON and is not becomes a string. A block without a call is content.
class CallReader {
 public:
  void push(std::string_view bytes, std::vector<ReplyPiece>& out);
  void push_marker(std::vector<ReplyPiece>& out);
  void flush(std::vector<ReplyPiece>& out);  // at the end
  bool over() const { return over_; }

 private:
  using Symbols = std::u16string;  // bytes, and the marker
  struct Tag;

  void read(std::vector<ReplyPiece>& out);
  bool read_tag(std::vector<ReplyPiece>& out);
  bool read_value(std::vector<ReplyPiece>& out);
  void take(const Tag& tag, std::vector<ReplyPiece>& out);
  void end_call(std::vector<ReplyPiece>& out);

  Symbols held_;
  std::string raw_;  // everything, until there is a call
  bool any_ = false, over_ = false, in_call_ = false, in_value_ = false, is_text_ = false;
  size_t parameters_ = 0;  // of this call
  Utf8Stream utf8_;        // of this value
};

}  // namespace v4rt
