#include "loaders/files/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <functional>

#include "ops/core/error.h"

namespace v4rt {
namespace {

[[noreturn]] void fail_errno(const std::string& path, int error) {
  if (error == ENOENT || error == ENOTDIR) fail(Code::kNotFound, "{}: no such file; check the path", path);
  const Code code = error == ENOMEM ? Code::kOutOfMemory : Code::kInvalidArgument;
  fail(code, "{}: cannot be read: {}", path, std::strerror(error));
}

// Asked of the path before it is opened: opening a pipe would wait for its writer.
void check_plain(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) fail_errno(path, errno);
  check(!S_ISDIR(status.st_mode), Code::kInvalidArgument, "{}: is a folder; give a file inside it", path);
  check(S_ISREG(status.st_mode), Code::kInvalidArgument, "{}: is not a plain file (a pipe, socket or device)", path);
}

}  // namespace

std::shared_ptr<const MappedFile> MappedFile::open(const std::string& path) {
  check_plain(path);
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) fail_errno(path, errno);
  // From here on the object closes the descriptor, whatever fails.
  std::shared_ptr<MappedFile> file(new MappedFile(path, descriptor, {}));
  struct stat status {};
  if (::fstat(descriptor, &status) != 0) fail_errno(path, errno);
  const auto size = static_cast<size_t>(status.st_size);
  check(size > 0, Code::kCorrupt, "{}: is empty (0 bytes); fetch it again", path);
  file->inode_ = status.st_ino;
  file->changed_ = int64_t{status.st_ctim.tv_sec} * 1'000'000'000 + status.st_ctim.tv_nsec;
  void* address = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, descriptor, 0);
  if (address == MAP_FAILED) fail_errno(path, errno);
  file->bytes_ = {static_cast<const std::byte*>(address), size};
  return file;
}

MappedFile::~MappedFile() {
  if (!bytes_.empty()) ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
  ::close(descriptor_);
}

bool MappedFile::contains(std::span<const std::byte> range) const {
  const std::less_equal<const std::byte*> not_after;
  return not_after(bytes_.data(), range.data()) &&
         not_after(range.data() + range.size(), bytes_.data() + bytes_.size());
}

void MappedFile::advise(std::span<const std::byte> range, Advice advice) const {
  if (range.empty() || !contains(range)) return;
  const auto page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  const auto down = [page](size_t x) { return x / page * page; };
  size_t begin = static_cast<size_t>(range.data() - bytes_.data());
  size_t end = begin + range.size();
  if (advice == Advice::kWillNeed) {
    begin = down(begin);
  } else {
    begin = down(begin + page - 1);
    if (end != bytes_.size()) end = down(end);  // the rest of the file's last page belongs to nobody
  }
  if (begin >= end) return;
  ::madvise(const_cast<std::byte*>(bytes_.data()) + begin, end - begin,
            advice == Advice::kWillNeed ? MADV_WILLNEED : MADV_DONTNEED);
}

void MappedFile::check_intact() const {
  struct stat status {};
  if (::fstat(descriptor_, &status) != 0) fail_errno(path_, errno);
  check(static_cast<size_t>(status.st_size) >= bytes_.size(), Code::kCorrupt,
        "{}: shrank from {} to {} bytes while it was in use; restore the file and open the model again", path_,
        bytes_.size(), status.st_size);
}

}  // namespace v4rt
