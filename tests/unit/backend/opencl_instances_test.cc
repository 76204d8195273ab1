#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "backend/opencl/kernel_instances.h"

namespace v4rt {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(OpenclInstances, WhatATextDefinesHasNamesOfItsOwn) {
  constexpr std::string_view kText =
      "#define TWICE (2 * N)\n"
      "typedef float4 rowf;\n"
      "typedef struct {\n  int rows;\n} Matrix;\n"
      "EM_FN rowf sum(const Matrix* m,\n               int n) {\n  return n;\n}\n"
      "DEFINE_STORE(put, f32)\n";
  const std::vector<std::string> options{"N=3", "HALVES"};
  const std::string text = instance_of(kText, options, "_a");
  const size_t begin = text.find(kText);
  ASSERT_NE(begin, std::string::npos);
  const std::string before = text.substr(0, begin), after = text.substr(begin + kText.size());
  for (const char* option : {"#define N 3\n", "#define HALVES 1\n"}) EXPECT_THAT(before, HasSubstr(option));
  for (const char* name : {"rowf", "Matrix", "sum", "put"}) {
    EXPECT_THAT(before, HasSubstr("#define " + std::string(name) + " " + name + "_a\n"));
    EXPECT_THAT(after, HasSubstr("#undef " + std::string(name) + "\n"));
  }
  for (const char* macro : {"N", "HALVES", "TWICE"})
    EXPECT_THAT(after, HasSubstr("#undef " + std::string(macro) + "\n"));
  EXPECT_THAT(before, Not(HasSubstr("TWICE")));
  for (const char* other : {"rows", "struct", "float4"}) EXPECT_THAT(before, Not(HasSubstr(other)));
}

}  // namespace
}  // namespace v4rt
