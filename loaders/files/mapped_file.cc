#include "loaders/files/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <functional>

#include "ops/core/error.h"
#include "ops/core/host.h"
#include "ops/core/human.h"

namespace v4rt {
namespace {

[[noreturn]] void fail_errno(const std::string& path, int error) {
  if (error == ENOENT || error == ENOTDIR) fail(Code::kNotFound, "{}: no such file; check the path", path);
  const Code code = error == ENOMEM ? Code::kOutOfMemory : Code::kInvalidArgument;
  fail(code, "{}: cannot be read: {}", path, std::strerror(error));
}

int64_t nanoseconds(const timespec& time) { return int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec; }

// Checked before the file is opened: opening a pipe would wait for its writer.
void check_plain(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) fail_errno(path, errno);
  check(!S_ISDIR(status.st_mode), Code::kInvalidArgument, "{}: is a folder; give a file inside it", path);
  check(S_ISREG(status.st_mode), Code::kInvalidArgument, "{}: is not a plain file (a pipe, socket or device)", path);
}

}  // namespace

std::shared_ptr<const MappedFile> MappedFile::open(const std::string& path, FileAccess access) {
  check_plain(path);
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) fail_errno(path, errno);
  // From here on the object closes the descriptor, whatever fails.
  std::shared_ptr<MappedFile> file(new MappedFile(path, descriptor, access));
  struct stat status {};
  if (::fstat(descriptor, &status) != 0) fail_errno(path, errno);
  const auto size = static_cast<size_t>(status.st_size);
  check(size > 0, Code::kCorrupt, "{}: is empty (0 bytes); fetch it again", path);
  file->inode_ = status.st_ino;
  file->changed_ = nanoseconds(status.st_ctim);
  file->modified_ = nanoseconds(status.st_mtim);
  access == FileAccess::kMap ? file->map(size) : file->read(size);
  return file;
}

void MappedFile::map(size_t size) {
  void* address = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, descriptor_, 0);
  if (address == MAP_FAILED) fail_errno(path_, errno);
  bytes_ = {static_cast<const std::byte*>(address), size};
}

// So that it is aligned like a mapping.
std::span<std::byte> MappedFile::reserve(size_t size) {
  const size_t available = available_memory();
  check(size <= available, Code::kOutOfMemory, "{}: has {}, and {} of memory is available; let it be mapped", path_,
        human_bytes(static_cast<double>(size)), human_bytes(static_cast<double>(available)));
  void* address = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (address == MAP_FAILED) fail_errno(path_, errno);
  bytes_ = {static_cast<const std::byte*>(address), size};
  return {static_cast<std::byte*>(address), size};
}

void MappedFile::read(size_t size) {
  const std::span<std::byte> to = reserve(size);
  for (size_t at = 0; at < size;) {
    const ssize_t n = ::pread(descriptor_, to.data() + at, size - at, static_cast<off_t>(at));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail_errno(path_, errno);
    check(n > 0, Code::kCorrupt, "{}: shrank from {} to {} bytes while it was read", path_, size, at);
    at += static_cast<size_t>(n);
  }
}

std::shared_ptr<const MappedFile> MappedFile::given(std::string path, std::span<const std::byte> bytes) {
  check(!bytes.empty(), Code::kCorrupt, "{}: is empty (0 bytes)", path);
  std::shared_ptr<MappedFile> file(new MappedFile(std::move(path), -1, FileAccess::kRead));
  file->bytes_ = bytes;
  file->owned_ = false;
  return file;
}

std::shared_ptr<const MappedFile> MappedFile::read_by(std::string path, uint64_t size, const ReadFn& read) {
  constexpr size_t kPiece = size_t{16} << 20;
  check(size > 0, Code::kCorrupt, "{}: is empty (0 bytes)", path);
  std::shared_ptr<MappedFile> file(new MappedFile(std::move(path), -1, FileAccess::kRead));
  const std::span<std::byte> to = file->reserve(size);
  for (size_t at = 0; at < to.size(); at += kPiece) read(at, to.subspan(at, std::min(kPiece, to.size() - at)));
  return file;
}

MappedFile::~MappedFile() {
  if (owned_ && !bytes_.empty()) ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
  if (descriptor_ >= 0) ::close(descriptor_);
}

bool MappedFile::contains(std::span<const std::byte> range) const {
  const std::less_equal<const std::byte*> not_after;
  return not_after(bytes_.data(), range.data()) &&
         not_after(range.data() + range.size(), bytes_.data() + bytes_.size());
}

void MappedFile::advise(std::span<const std::byte> range, Advice advice) const {
  if (!is_mapped() || range.empty() || !contains(range)) return;
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
  if (!is_mapped()) return;
  struct stat status {};
  if (::fstat(descriptor_, &status) != 0) fail_errno(path_, errno);
  check(static_cast<size_t>(status.st_size) >= bytes_.size(), Code::kCorrupt,
        "{}: shrank from {} to {} bytes while it was in use; restore the file and open the model again", path_,
        bytes_.size(), status.st_size);
  check(nanoseconds(status.st_mtim) == modified_, Code::kCorrupt,
        "{}: was written to while it was in use; restore the file and open the model again", path_);
}

}  // namespace v4rt
