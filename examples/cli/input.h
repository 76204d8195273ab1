#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace v4rt::cli {

// The bytes of a file, a pipe or, for "-", standard input; throws Error naming it.
std::string read_file(const std::string& path);

// A text: the same without the byte order mark that some editors put at its start; says so if there is one. Line ends
// stay as they are.
std::string read_text(const std::string& path);

// White-space separated token ids. Throws Error with line and column of anything that is not an id in [0, vocab_size).
std::vector<int32_t> read_ids(const std::string& path, int64_t vocab_size);

// The lines of standard input, without their ends (LF or CR LF) and without a byte order mark. Needs an InterruptGuard.
class LineReader {
 public:
  enum class Result { kLine, kEnd, kInterrupted };

  // Waits for the next line, or for Ctrl-C. Throws Error if standard input cannot be read.
  Result next(std::string& line);

 private:
  bool fill();  // returns whether there was more

  std::string pending_;  // read but not returned yet
  bool first_ = true, ended_ = false;
};

}  // namespace v4rt::cli
