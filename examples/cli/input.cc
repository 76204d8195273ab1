#include "examples/cli/input.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <utility>

#include "examples/cli/interrupt.h"
#include "examples/cli/streams.h"
#include "examples/cli/terminal.h"
#include "loaders/text/utf8.h"
#include "ops/core/error.h"

namespace v4rt::cli {
namespace {

constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";  // U+FEFF

bool is_space(char c) { return c == ' ' || c == '\n' || c == '\t' || c == '\r' || c == '\f' || c == '\v'; }

std::string name_of(const std::string& path) { return path == "-" ? "standard input" : path; }

// Closes a file that was opened here, but not standard input.
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

void drop_byte_order_mark(std::string& text, const std::string& name) {
  if (!text.starts_with(kByteOrderMark)) return;
  text.erase(0, kByteOrderMark.size());
  say(fmt::format("{}: the byte order mark at its start is left out\n", escaped(name)));
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

}  // namespace

std::string read_file(const std::string& path) {
  const InputFile input(path);
  if (input.file < 0) fail(Code::kNotFound, "{}", stream_error(name_of(path), "opened", errno));
  std::string text;
  std::array<char, 65536> block;
  while (true) {
    const ssize_t n = read_some(input.file, block);
    if (n < 0) fail(Code::kNotFound, "{}", stream_error(name_of(path), "read", errno));
    if (n == 0) return text;
    text.append(block.data(), static_cast<size_t>(n));
  }
}

std::string read_text(const std::string& path) {
  std::string text = read_file(path);
  drop_byte_order_mark(text, name_of(path));
  return text;
}

std::vector<int32_t> read_ids(const std::string& path, int64_t vocab_size) {
  return parse_ids(read_text(path), name_of(path), vocab_size);
}

bool LineReader::fill() {
  std::array<char, 4096> block;
  const ssize_t n = read_some(STDIN_FILENO, block);
  if (n < 0) fail(Code::kNotFound, "{}", stream_error(name_of("-"), "read", errno));
  pending_.append(block.data(), static_cast<size_t>(n));
  return n > 0;
}

LineReader::Result LineReader::next(std::string& line) {
  size_t end = 0;
  while (true) {
    if (InterruptGuard::raised()) return Result::kInterrupted;
    end = pending_.find('\n');
    if (end != std::string::npos || ended_) break;
    std::array<pollfd, 2> awaited = {{{STDIN_FILENO, POLLIN, 0}, {InterruptGuard::descriptor(), POLLIN, 0}}};
    if (::poll(awaited.data(), awaited.size(), -1) < 0 || awaited[0].revents == 0) continue;
    ended_ = !fill();
  }
  if (pending_.empty()) return Result::kEnd;
  line = pending_.substr(0, end);
  pending_.erase(0, end == std::string::npos ? end : end + 1);
  if (line.ends_with('\r')) line.pop_back();
  if (std::exchange(first_, false)) drop_byte_order_mark(line, name_of("-"));
  return Result::kLine;
}

}  // namespace v4rt::cli
