#include "examples/cli/input.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>

#include "ops/core/error.h"

namespace v4rt::cli {
namespace {

bool is_space(char c) { return c == ' ' || c == '\n' || c == '\t' || c == '\r' || c == '\f' || c == '\v'; }

// Closes what was opened here, not standard input.
struct InputFile {
  int file;
  explicit InputFile(const std::string& path)
      : file(path == "-" ? STDIN_FILENO : ::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {}
  ~InputFile() {
    if (file > STDIN_FILENO) ::close(file);
  }
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;
};

}  // namespace

std::string read_file(const std::string& path) {
  const std::string name = path == "-" ? "standard input" : path;
  const InputFile input(path);
  check(input.file >= 0, Code::kNotFound, "{}: cannot be opened: {}", name, std::strerror(errno));
  std::string text;
  char block[65536];
  while (true) {
    const ssize_t n = ::read(input.file, block, sizeof(block));
    if (n < 0 && errno == EINTR) continue;
    check(n >= 0, Code::kNotFound, "{}: cannot be read: {}", name, std::strerror(errno));
    if (n == 0) return text;
    text.append(block, static_cast<size_t>(n));
  }
}

std::vector<int32_t> parse_ids(std::string_view text, const std::string& source, int64_t vocab_size) {
  std::vector<int32_t> ids;
  int64_t line = 1;
  size_t line_begin = 0;
  for (size_t i = 0; i < text.size();) {
    if (is_space(text[i])) {
      if (text[i] == '\n') ++line, line_begin = i + 1;
      ++i;
      continue;
    }
    size_t end = i;
    while (end < text.size() && !is_space(text[end])) ++end;
    const std::string_view word = text.substr(i, end - i);
    int64_t id = 0;
    const auto [stop, error] = std::from_chars(word.data(), word.data() + word.size(), id);
    check(error == std::errc() && stop == word.data() + word.size(), Code::kInvalidArgument,
          "{}: line {}, column {}: '{}' is not a token id; ids are whole numbers separated by white space", source,
          line, i - line_begin + 1, word.substr(0, 40));
    check(id >= 0 && id < vocab_size, Code::kInvalidArgument,
          "{}: line {}, column {}: token id {} is outside the model's vocabulary, 0 to {}", source, line,
          i - line_begin + 1, id, vocab_size - 1);
    ids.push_back(static_cast<int32_t>(id));
    i = end;
  }
  check(!ids.empty(), Code::kInvalidArgument, "{}: holds no token ids", source);
  return ids;
}

std::vector<int32_t> read_ids(const std::string& path, int64_t vocab_size) {
  return parse_ids(read_file(path), path == "-" ? "standard input" : path, vocab_size);
}

std::optional<std::string> read_line() {
  std::string line;
  while (true) {
    char c = 0;
    const ssize_t n = ::read(STDIN_FILENO, &c, 1);
    if (n < 0) return std::nullopt;
    if (n == 0) return line.empty() ? std::nullopt : std::optional(line);
    if (c == '\n') return line;
    line += c;
  }
}

}  // namespace v4rt::cli
