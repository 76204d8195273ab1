#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "backend/opencl/kernel_arguments.h"
#include "backend/opencl/kernel_sources.h"
#include "ops/core/error.h"

namespace v4rt {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(OpenclArguments, APointerIsABufferAndAnOffset) {
  const std::string text = with_buffer_offsets(
      "float f(float x) { return x; }\n"
      "KERNEL void scale(__global const float* restrict x, __global CAT(OUT, _t) * y, int n,\n"
      "                  float factor) {\n"
      "  y[0] = x[0];\n"
      "}\n");
  EXPECT_THAT(text, HasSubstr("float f(float x) { return x; }"));
  EXPECT_THAT(text, HasSubstr("__global const uchar* restrict x_buffer, ulong x_offset"));
  EXPECT_THAT(text, HasSubstr("__global uchar* y_buffer, ulong y_offset"));
  EXPECT_THAT(text, HasSubstr("__global const float* x = (__global const float*)(x_buffer + x_offset);"));
  EXPECT_THAT(text, HasSubstr("CAT(OUT, _t) * y = ("));
  EXPECT_THAT(text, HasSubstr("int n,\n                  float factor)"));
  EXPECT_THAT(text, HasSubstr("y[0] = x[0];\n}\n"));
}

TEST(OpenclArguments, EveryKernelIsRewritten) {
  for (const KernelSource& source : kernel_sources()) {
    const std::string text = with_buffer_offsets("\n" + std::string(source.text));
    for (size_t at = text.find("KERNEL void "); at != std::string::npos; at = text.find("KERNEL void ", at + 1)) {
      const std::string list = text.substr(at, text.find('{', at) - at);
      EXPECT_THAT(list, Not(HasSubstr("_t*"))) << source.name;
      for (size_t star = list.find('*'); star != std::string::npos; star = list.find('*', star + 1)) {
        EXPECT_EQ(list.substr(star - 5, 5), "uchar") << source.name << ": " << list;
      }
    }
  }
}

TEST(OpenclArguments, OnlyTheKernelThatIsAskedForIsLeft) {
  const std::string_view text =
      "\nfloat f(float x) { return x; }\n"
      "KERNEL void a(int n) {\n"
      "  if (n > 0) {\n"
      "  }\n"
      "}\n"
      "#ifdef WIDE\n"
      "KERNEL void ab(int n) {\n"
      "}\n"
      "KERNEL void a(float n) {\n"
      "}\n"
      "#endif\n";
  EXPECT_EQ(with_one_kernel(text, "a"),
            "\nfloat f(float x) { return x; }\n"
            "KERNEL void a(int n) {\n"
            "  if (n > 0) {\n"
            "  }\n"
            "}\n"
            "#ifdef WIDE\n"
            "KERNEL void a(float n) {\n"
            "}\n"
            "#endif\n");
  EXPECT_EQ(with_one_kernel(text, "b"), "\nfloat f(float x) { return x; }\n#ifdef WIDE\n#endif\n");
  EXPECT_THROW(with_one_kernel("\nKERNEL void f(int x) {", "f"), Error);
}

TEST(OpenclArguments, AListThatDoesNotEndIsAnError) {
  EXPECT_THROW(with_buffer_offsets("\nKERNEL void f(__global float* x"), Error);
}

}  // namespace
}  // namespace v4rt
