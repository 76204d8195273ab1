// What the program fails on purpose: the n-th allocation, system call, thread start or OpenCL call that is made while a
// fault is armed. These definitions come before those of the libraries for everything in the process.

#include "tests/api/faults.h"

#include <dlfcn.h>
#include <execinfo.h>
#include <pthread.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#include <span>

namespace faults {
namespace {

std::atomic<Kind> armed{Kind::kNone};
std::atomic<int64_t> calls{0}, target{0}, allocations{0};
std::atomic<const char*> failing_from{nullptr};  // kOpencl: the names of calls that go on failing
std::span<uint64_t> noted;                       // set while nothing is armed

template <class F>
F* next(F*, const char* name) {
  return reinterpret_cast<F*>(dlsym(RTLD_NEXT, name));
}

constexpr size_t kUsual = alignof(max_align_t);

struct Callers {
  void* functions[64];
  int depth;
  Callers() : depth(backtrace(functions, 64)) {}
  uint64_t place() const {
    uint64_t hash = 0;
    for (void* const function : std::span(functions, static_cast<size_t>(depth)))
      hash = (hash ^ reinterpret_cast<uintptr_t>(function)) * 0x9e3779b97f4a7c15u;
    return hash;
  }
};
Callers failed;  // before main: the first backtrace opens a library

int64_t count() {
  const int64_t n = ++calls;
  if (static_cast<size_t>(n) <= noted.size()) noted[static_cast<size_t>(n) - 1] = Callers().place();
  return n;
}

}  // namespace

bool due(Kind kind) {
  if (armed != kind || spared || count() != target) return false;
  failed = Callers();
  return true;
}

bool opencl_due(const char* call) {
  const char* from = failing_from;
  if (from == nullptr) return due(Kind::kOpencl);
  if (armed != Kind::kOpencl || spared || std::strncmp(call, from, std::strlen(from)) != 0) return false;
  return count() >= target && target > 0;
}

void arm_opencl_from(const char* call, int64_t nth) {
  arm(Kind::kOpencl, nth);
  failing_from = call;
}

void arm(Kind kind, int64_t nth) {
  failing_from = nullptr;
  calls = 0;
  target = nth;
  armed = kind;
}

void arm_to_note(Kind kind, std::span<uint64_t> places) {
  noted = places;
  arm(kind, 0);
}

int64_t disarm() {
  armed = Kind::kNone;
  noted = {};
  return calls;
}

int64_t live_allocations() { return allocations; }

void show_failed() { backtrace_symbols_fd(failed.functions, failed.depth, STDOUT_FILENO); }

void show_callers() {
  const Callers here;
  backtrace_symbols_fd(here.functions, here.depth, STDOUT_FILENO);
}

namespace {

// Lies before what operator new returns.
struct alignas(kUsual) Head {
  void* whole;
  bool counted;
};

void* allocate(size_t bytes, size_t alignment) {
  if (due(Kind::kAllocation)) return nullptr;
  const size_t before = std::max(alignment, sizeof(Head));
  void* whole = nullptr;
  if (bytes > SIZE_MAX - before || posix_memalign(&whole, before, before + bytes) != 0) return nullptr;
  if (!spared) ++allocations;
  std::byte* const memory = static_cast<std::byte*>(whole) + before;
  new (memory - sizeof(Head)) Head{whole, !spared};
  return memory;
}

void* allocate_or_throw(size_t bytes, size_t alignment) {
  void* memory = allocate(bytes, alignment);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

void release(void* memory) {
  if (memory == nullptr) return;
  const Head head = static_cast<Head*>(memory)[-1];
  if (head.counted) --allocations;
  std::free(head.whole);
}

struct SparedThread {
  void* (*start)(void*);
  void* argument;
  static void* run(void* self) {
    spared = true;
    const SparedThread thread = *static_cast<SparedThread*>(self);
    delete static_cast<SparedThread*>(self);
    return thread.start(thread.argument);
  }
};

}  // namespace
}  // namespace faults

// These replacements belong together; g++ only sees that memory of `new` is passed to `free`.
#pragma GCC diagnostic ignored "-Wmismatched-new-delete"

void* operator new(size_t bytes) { return faults::allocate_or_throw(bytes, faults::kUsual); }
void* operator new(size_t bytes, std::align_val_t a) {
  return faults::allocate_or_throw(bytes, static_cast<size_t>(a));
}
void* operator new(size_t bytes, const std::nothrow_t&) noexcept { return faults::allocate(bytes, faults::kUsual); }
void operator delete(void* memory) noexcept { faults::release(memory); }
void operator delete(void* memory, size_t) noexcept { faults::release(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { faults::release(memory); }
void operator delete(void* memory, size_t, std::align_val_t) noexcept { faults::release(memory); }
void operator delete(void* memory, const std::nothrow_t&) noexcept { faults::release(memory); }

extern "C" {

void* aligned_alloc(size_t alignment, size_t bytes) noexcept {  // what the cpu device takes buffers with
  static const auto real = faults::next(&aligned_alloc, "aligned_alloc");
  return faults::due(faults::Kind::kAllocation) ? nullptr : real(alignment, bytes);
}

int pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*start)(void*),
                   void* argument) noexcept {
  static const auto real = faults::next(&pthread_create, "pthread_create");
  if (faults::due(faults::Kind::kThread)) return EAGAIN;
  if (!faults::spared) return real(thread, attributes, start, argument);
  auto* const spared = new faults::SparedThread{start, argument};
  const int status = real(thread, attributes, faults::SparedThread::run, spared);
  if (status != 0) delete spared;
  return status;
}

int open(const char* path, int flags, ...) {
  static const auto real = faults::next(&open, "open");
  va_list rest;
  va_start(rest, flags);
  const mode_t mode = va_arg(rest, mode_t);
  va_end(rest);
  if (!faults::due(faults::Kind::kFile)) return real(path, flags, mode);
  errno = EIO;
  return -1;
}

ssize_t pread(int file, void* bytes, size_t n, off_t offset) {
  static const auto real = faults::next(&pread, "pread");
  if (!faults::due(faults::Kind::kFile)) return real(file, bytes, n, offset);
  errno = EIO;
  return -1;
}

int fstat(int file, struct stat* status) noexcept {
  static const auto real = faults::next(&fstat, "fstat");
  if (!faults::due(faults::Kind::kFile)) return real(file, status);
  errno = EIO;
  return -1;
}

void* mmap(void* address, size_t bytes, int protection, int flags, int file, off_t offset) noexcept {
  static const auto real = faults::next(&mmap, "mmap");
  if (!faults::due(faults::Kind::kFile)) return real(address, bytes, protection, flags, file, offset);
  errno = ENOMEM;
  return MAP_FAILED;
}

}  // extern "C"
