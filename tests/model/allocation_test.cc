// While tokens flow, nothing is allocated, and OpenCL kernels keep their arguments. Counts every operator new and
// clSetKernelArg of the process; a program of its own, since it replaces them.

#include <dlfcn.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <new>

#include "graph/runtime/generate.h"
#include "tests/support/models.h"

namespace {
std::atomic<int64_t> allocations{0}, arguments{0};
}

extern "C" int32_t clSetKernelArg(void* kernel, uint32_t index, size_t bytes, const void* value) {
  static const auto real = reinterpret_cast<decltype(&clSetKernelArg)>(dlsym(RTLD_NEXT, "clSetKernelArg"));
  ++arguments;
  return real(kernel, index, bytes, value);
}

// These replacements belong together; g++ only sees that memory of `new` is passed to `free`.
#pragma GCC diagnostic ignored "-Wmismatched-new-delete"

void* operator new(size_t bytes) {
  ++allocations;
  if (void* memory = std::malloc(bytes == 0 ? 1 : bytes)) return memory;
  throw std::bad_alloc();
}
void* operator new(size_t bytes, std::align_val_t alignment) {
  ++allocations;
  const size_t a = static_cast<size_t>(alignment);
  if (void* memory = std::aligned_alloc(a, (bytes + a - 1) / a * a)) return memory;
  throw std::bad_alloc();
}
void* operator new(size_t bytes, const std::nothrow_t&) noexcept {
  ++allocations;
  return std::malloc(bytes == 0 ? 1 : bytes);
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, size_t, std::align_val_t) noexcept { std::free(memory); }

namespace v4rt {
namespace {

class Allocation : public testing::TestWithParam<std::string> {};

TEST_P(Allocation, DecodingAllocatesNothing) {
  const auto model = open_model(mini_path(), {.device = GetParam()});
  Session session(model);
  const int32_t prompt[] = {0, 320, 1843, 652, 844, 1218, 313, 260};
  int32_t next = static_cast<int32_t>(argmax(session.feed(prompt)));
  session.feed(std::span(&next, 1));  // the first one may still allocate
  const int64_t before = allocations;
  for (int i = 0; i < 200; ++i) next = static_cast<int32_t>(argmax(session.feed(std::span(&next, 1))));
  EXPECT_EQ(allocations - before, 0);
}

// What is launched for one token is launched for the next with the same arguments, set once: what changes is in the
// table of the step, which lies on the device.
TEST_P(Allocation, DecodingSetsNoArgument) {
  const auto model = open_model(mini_path(), {.device = GetParam()});
  Session session(model);
  int32_t next = 0;
  const auto decode = [&] {  // past every ratio of compression, twice
    for (int i = 0; i < 260; ++i) next = static_cast<int32_t>(argmax(session.feed(std::span(&next, 1))));
  };
  decode();
  if (GetParam() == "opencl") EXPECT_GT(arguments, 0);
  const int64_t before = arguments;
  decode();
  EXPECT_EQ(arguments - before, 0);
}

INSTANTIATE_TEST_SUITE_P(Devices, Allocation, testing::ValuesIn(built_in_backends()),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace v4rt
