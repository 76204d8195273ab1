#include "loaders/files/pending_files.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "loaders/files/folders.h"
#include "ops/core/error.h"

namespace v4rt {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void fail_to(std::string_view what, const std::string& path, int error) {
  fail(Code::kInvalidArgument, "{}: cannot be {}: {}", path, what, std::strerror(error));
}

}  // namespace

PendingFiles::PendingFiles(std::string folder, Sync sync)
    : folder_(std::move(folder)), sync_(sync), made_folders_(make_folders(folder_)) {}

PendingFiles::~PendingFiles() {
  if (file_ >= 0) ::close(file_);
  for (const std::string& name : names_) ::unlink(temporary(name).c_str());
  while (!made_folders_.empty()) {
    ::rmdir(made_folders_.back().c_str());  // fails, as it should, if the folder is not empty
    made_folders_.pop_back();
  }
}

std::string PendingFiles::path(const std::string& name) const { return (fs::path(folder_) / name).string(); }
std::string PendingFiles::temporary(const std::string& name) const {
  return fmt::format("{}.{}.part", path(name), ::getpid());
}

void PendingFiles::begin(const std::string& name) {
  finish();
  const std::string at = temporary(name);
  file_ = ::open(at.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (file_ < 0) fail_to("created", at, errno);
  names_.push_back(name);
}

void PendingFiles::append(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(file_, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail_to("written", path(names_.back()), errno);
    bytes = bytes.subspan(static_cast<size_t>(n));
  }
}

// A disk may report only now that it is full.
void PendingFiles::finish() {
  if (file_ < 0) return;
  while (sync_ == Sync::kYes && ::fsync(file_) != 0) {
    if (errno == EINVAL) break;  // a file system without fsync
    if (errno != EINTR) fail_to("written", path(names_.back()), errno);
  }
  if (::close(std::exchange(file_, -1)) != 0) fail_to("written", path(names_.back()), errno);
}

void PendingFiles::commit(std::span<const std::string> obsolete) {
  finish();
  for (const std::string& name : obsolete) {
    if (::unlink(path(name).c_str()) != 0 && errno != ENOENT) fail_to("removed", path(name), errno);
  }
  while (!names_.empty()) {
    const std::string& name = names_.front();
    if (std::rename(temporary(name).c_str(), path(name).c_str()) != 0) fail_to("written", path(name), errno);
    names_.erase(names_.begin());
  }
}

}  // namespace v4rt
