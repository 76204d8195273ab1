#include "backend/shared_pages.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <numeric>

#include "ops/core/arith.h"
#include "ops/core/error.h"

namespace v4rt {
namespace {

constexpr size_t kLeast = size_t{4} << 10, kMost = size_t{64} << 10;
constexpr size_t kOfLargest = 128;  // extents that the longest range has at least, where it is long enough

}  // namespace

size_t SharedPages::extent_bytes(size_t largest) {
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  return std::max(page, std::clamp(std::bit_floor(largest / kOfLargest), kLeast, kMost));
}

std::shared_ptr<SharedPages> SharedPages::create(size_t bytes, size_t largest) {
  const size_t extent = extent_bytes(largest), all = round_up(bytes, extent);
  struct rlimit most {};  // of a file: one that is larger would end the process
  if (::getrlimit(RLIMIT_FSIZE, &most) != 0 || most.rlim_cur < all) return nullptr;
  const int file = ::memfd_create("v4rt-state", MFD_CLOEXEC);
  if (file < 0) return nullptr;
  const bool sized = ::ftruncate(file, static_cast<off_t>(all)) == 0;
  void* data = sized ? ::mmap(nullptr, all, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, file, 0) : MAP_FAILED;
  if (data != MAP_FAILED) {
    return std::shared_ptr<SharedPages>(new SharedPages(file, static_cast<std::byte*>(data), all, extent));
  }
  (void)::close(file);
  return nullptr;
}

SharedPages::SharedPages(int file, std::byte* data, size_t bytes, size_t extent)
    : file_(file), data_(data), bytes_(bytes), extent_(extent), of_(bytes / extent), shared_(bytes / extent, 1) {
  std::iota(of_.begin(), of_.end(), 0U);
}

SharedPages::~SharedPages() {
  (void)::munmap(data_, bytes_);
  (void)::close(file_);
}

void SharedPages::map(size_t first, size_t of, size_t n) {
  void* const at = data_ + first * extent_;
  check(::mmap(at, n * extent_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE | MAP_FIXED, file_,
               static_cast<off_t>(of * extent_)) == at,
        Code::kOutOfMemory, "state cannot be mapped: {}; a shorter context or fewer sequences take fewer pages",
        std::strerror(errno));
  for (size_t i = 0; i < n; ++i) {
    uint32_t& mine = of_[first + i];
    ++shared_[of + i];
    if (--shared_[mine] == 0) {  // nobody's: its memory goes back
      (void)::fallocate(file_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(mine * extent_),
                        static_cast<off_t>(extent_));
    }
    mine = static_cast<uint32_t>(of + i);
  }
}

// Where some are shared others are nobody's, for there are as many here as in the file. In its own place an extent
// makes one mapping with its neighbours.
size_t SharedPages::unused(size_t wanted) {
  if (shared_[wanted] == 0) return wanted;
  while (shared_[cursor_] != 0) cursor_ = (cursor_ + 1) % shared_.size();
  return cursor_;
}

void SharedPages::own(size_t begin, size_t end) {
  for (size_t e = begin / extent_; e * extent_ < end; ++e) {
    if (shared_[of_[e]] == 1) continue;
    const size_t of = unused(e), at = e * extent_;
    for (size_t kept = begin > at ? begin - at : 0, done = 0; done < kept;) {  // what stays in front of `begin`
      const ssize_t n = ::pwrite(file_, data_ + at + done, kept - done, static_cast<off_t>(of * extent_ + done));
      check(n > 0, Code::kOutOfMemory, "{} bytes of state cannot be copied: {}", kept, std::strerror(errno));
      done += static_cast<size_t>(n);
    }
    map(e, of, 1);
  }
}

void SharedPages::copy(size_t to, size_t from, size_t n) {
  check(to % extent_ == 0 && from % extent_ == 0, Code::kInternal, "state is copied from {} to {}", from, to);
  const size_t whole = n / extent_, first = from / extent_, target = to / extent_;
  for (size_t i = 0, n_run = 1; i < whole; i += n_run, n_run = 1) {
    const uint32_t *source = &of_[first + i], *known = &of_[target + i];
    while (i + n_run < whole && source[n_run] == source[0] + n_run) ++n_run;
    if (!std::equal(source, source + n_run, known)) map(target + i, source[0], n_run);
  }
  const size_t shared = whole * extent_;
  own(to + shared, to + n);
  std::memcpy(data_ + to + shared, data_ + from + shared, n - shared);
}

}  // namespace v4rt
