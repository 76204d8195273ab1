#include "examples/cli/output_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <optional>
#include <utility>

#include "examples/cli/streams.h"
#include "ops/core/error.h"

namespace v4rt::cli {
namespace {

using Status = struct stat;

std::optional<Status> status_of(const std::string& path) {
  Status status{};
  const bool there = path == "-" ? ::fstat(STDIN_FILENO, &status) == 0 : ::stat(path.c_str(), &status) == 0;
  return there ? std::optional(status) : std::nullopt;
}

bool same_file(const Status& a, const Status& b) { return a.st_dev == b.st_dev && a.st_ino == b.st_ino; }

void check_not_used(const std::string& path, const Status& status, const std::vector<std::string>& inputs) {
  for (const std::string& input : inputs) {
    const auto other = status_of(input);
    check(!other || !same_file(status, *other), Code::kInvalidArgument,
          "{}: is an input of this command ({}) and would be replaced; name another file", path,
          input == "-" ? "standard input" : input);
  }
  for (const auto& [descriptor, name] : {std::pair(STDOUT_FILENO, "output"), {STDERR_FILENO, "error"}}) {
    Status other{};
    check(::fstat(descriptor, &other) != 0 || !same_file(status, other), Code::kInvalidArgument,
          "{}: is where standard {} goes, and would be replaced; name another file", path, name);
  }
}

}  // namespace

OutputFile::OutputFile(std::string path, const std::vector<std::string>& inputs) : path_(std::move(path)) {
  const std::optional<Status> status = status_of(path_);
  if (status && !S_ISREG(status->st_mode)) {
    file_ = ::open(path_.c_str(), O_WRONLY | O_CLOEXEC);
    if (file_ < 0) fail_to("opened", errno);
    return;
  }
  target_ = path_;
  if (status) {
    check_not_used(path_, *status, inputs);
    if (::access(path_.c_str(), W_OK) != 0) fail_to("replaced", errno);
    target_ = std::filesystem::canonical(path_).string();  // so that a link stays a link
  }
  temporary_ = fmt::format("{}.{}.part", target_, ::getpid());
  file_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (file_ < 0) fail_to("created", errno);
}

OutputFile::~OutputFile() {
  if (file_ < 0) return;
  ::close(file_);
  if (is_regular()) ::unlink(temporary_.c_str());
}

void OutputFile::reserve(int64_t bytes) {
  if (!is_regular() || bytes == 0) return;
  if (::fallocate(file_, 0, 0, bytes) != 0 && (errno == ENOSPC || errno == EFBIG || errno == EDQUOT))
    fail_to("written", errno);
}

void OutputFile::append(std::span<const std::byte> bytes) {
  if (is_regular()) return write_at(size_, bytes);
  if (const int error = write_all(file_, {reinterpret_cast<const char*>(bytes.data()), bytes.size()}); error != 0)
    fail_to("written", error);
}

void OutputFile::write_at(int64_t offset, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::pwrite(file_, bytes.data(), bytes.size(), offset);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail_to("written", errno);
    bytes = bytes.subspan(static_cast<size_t>(n));
    offset += n;
    size_ = std::max(size_, offset);
  }
}

// A disk may report only now that it is full.
void OutputFile::commit() {
  if (is_regular()) {
    if (::ftruncate(file_, size_) != 0) fail_to("written", errno);  // drops what was reserved but not needed
    if (::fsync(file_) != 0 && errno != EINVAL) fail_to("written", errno);
    if (std::rename(temporary_.c_str(), target_.c_str()) != 0) fail_to("written", errno);
  }
  if (::close(std::exchange(file_, -1)) != 0) fail_to("written", errno);
}

void OutputFile::fail_to(const char* what, int error) const {
  fail(Code::kInvalidArgument, "{}: cannot be {}: {}", path_, what, std::strerror(error));
}

}  // namespace v4rt::cli
