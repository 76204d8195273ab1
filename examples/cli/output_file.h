#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace v4rt::cli {

// A file to be written, opened before the work that fills it, so that a missing folder, a full disk or a file that is
// an input is reported at once. It has a temporary name beside its own until commit(), and is removed without it.
// Anything but a regular file (a pipe, a terminal) is written in place.
class OutputFile {
 public:
  // `inputs`: files ("-" is standard input) that may not be replaced. Throws Error naming the path.
  OutputFile(std::string path, const std::vector<std::string>& inputs);
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  const std::string& path() const { return path_; }
  bool is_regular() const { return !temporary_.empty(); }

  void reserve(int64_t bytes);  // on disk, if the file system can
  void append(std::span<const std::byte> bytes);
  void write_at(int64_t offset, std::span<const std::byte> bytes);  // of a regular file
  void commit();

 private:
  [[noreturn]] void fail_to(const char* what, int error) const;

  std::string path_;
  std::string target_;     // the path with links resolved
  std::string temporary_;  // empty: written in place
  int file_ = -1;
  int64_t size_ = 0;  // of what was written
};

}  // namespace v4rt::cli
