#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace v4rt::cli {

std::string read_file(const std::string& path);  // "-" is standard input; throws Error naming the file

// White-space separated token ids. Throws Error with line and column of what is not one, or outside [0, vocab_size).
std::vector<int32_t> read_ids(const std::string& path, int64_t vocab_size);
std::vector<int32_t> parse_ids(std::string_view text, const std::string& source, int64_t vocab_size);

// One line from standard input, without its end. Nothing at the end of the input, or when Ctrl-C came while waiting.
std::optional<std::string> read_line();

}  // namespace v4rt::cli
