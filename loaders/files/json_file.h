#pragma once

#include <string>
#include <string_view>

#include "loaders/files/json.h"
#include "loaders/files/mapped_file.h"

namespace v4rt {

// A whole text file. Throws Error when it is missing, not a plain file, or larger than `max_bytes`.
inline constexpr size_t kLargestText = size_t{256} << 20;
std::string read_text_file(const std::string& path, size_t max_bytes = kLargestText);
std::string text_of(const MappedFile& file, size_t max_bytes = kLargestText);

// `source` names the text in messages. A repeated key keeps its first place and gets the last value. Throws Error if
// the text is not JSON or is nested deeper than 64: kCorrupt where it is a file's, kInvalidArgument where it is a
// request's.
Json parse_json(std::string_view text, std::string_view source);
Json parse_request_json(std::string_view text, std::string_view source);

// Text from a file, made safe to show in a message: escaped, cut after 120 bytes.
std::string printable(std::string_view text);

}  // namespace v4rt
