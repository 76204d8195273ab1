#include <gmock/gmock.h>

#include "backend/opencl/child.h"
#include "backend/opencl/compilers.h"
#include "backend/opencl/first_launch.h"
#include "backend/opencl/opencl_context.h"
#include "backend/opencl/program_cache.h"
#include "ops/norm/norm.h"
#include "tests/unit/backend/opencl_support.h"

namespace v4rt {
namespace {

// A process that greets as serve_compiler() does and then runs the shell's commands, its socket being standard input.
std::vector<std::string> shell(const std::string& commands) {
  return {"/bin/sh", "-c", "printf '\\4\\0\\0\\0\\0\\0\\0\\0v4rt' >&0; " + commands};
}

const ProgramText kProgram{"f of a test", "__kernel void f(__global int* a) { a[0] = 1; }", ""};

TEST(OpenclCompilers, ACrashIsTheProgramsAndTheNextOneIsAskedAnew) {
  Compilers compilers(shell("head -c 30 <&0 >/dev/null; kill -SEGV $$"), "opencl:0");
  for (int i = 0; i < 3; ++i) {
    const Compilers::Result result = compilers.compile(kProgram).get();
    EXPECT_TRUE(result.crashed);
    EXPECT_NE(result.problem.find("Segmentation fault"), std::string::npos) << result.problem;
  }
}

TEST(OpenclCompilers, WhereThereIsNoneNobodyIsAsked) {
  for (const char* command : {"/bin/true", "/nowhere/v4rt"}) {
    Compilers compilers({command}, "opencl:0");
    for (int i = 0; i < 2; ++i) {
      const Compilers::Result result = compilers.compile(kProgram).get();
      EXPECT_TRUE(result.answer.empty() && result.problem.empty() && !result.crashed) << command;
    }
  }
}

TEST(OpenclCompilers, AnswersAreKeptAsTheyCome) {
  Compilers compilers(shell("printf '\\3\\0\\0\\0\\0\\0\\0\\0axy' >&0; cat <&0 >/dev/null"), "opencl:0");
  std::vector<std::byte> kept;
  const auto result = compilers.compile(kProgram, [&](const Compilers::Result& r) { kept = r.answer; });
  EXPECT_EQ(result.get().answer, (std::vector<std::byte>{std::byte{'x'}, std::byte{'y'}}));
  EXPECT_EQ(kept, result.get().answer);
}

// Also where none could be started.
TEST(OpenclCompilers, ThoseThatWaitAreAskedFirst) {
  Compilers compilers({"/nowhere/v4rt"}, "opencl:0");
  std::vector<std::unique_ptr<Child>> waiting;
  waiting.push_back(std::make_unique<Child>(shell("printf '\\3\\0\\0\\0\\0\\0\\0\\0axy' >&0; cat <&0 >/dev/null")));
  ASSERT_TRUE(waiting[0]->greets());
  compilers.employ(std::move(waiting));
  EXPECT_EQ(compilers.compile(kProgram).get().answer, (std::vector<std::byte>{std::byte{'x'}, std::byte{'y'}}));
}

// A driver that never comes back does not keep a program from ending.
TEST(OpenclCompilers, EndWhileOneCompiles) {
  Compilers compilers(shell("sleep 600"), "opencl:0");
  std::vector<std::shared_future<Compilers::Result>> results;
  for (int i = 0; i < 5; ++i) results.push_back(compilers.compile(kProgram));
  EXPECT_EQ(results[0].wait_for(std::chrono::milliseconds(100)), std::future_status::timeout);
  compilers.finish();
}

std::shared_ptr<OpenclDevice> device_with(const std::vector<std::string>& compiler, const std::string& cache) {
  const std::vector<OpenclSite> sites = find_opencl_sites().sites;
  if (sites.empty()) return nullptr;
  return std::make_shared<OpenclDevice>(sites[0], query_capabilities(sites[0]), "opencl:0", cache, FastOptions{},
                                        OpenclLoan{}, compiler);
}

const std::vector<std::string> kDefinitions{"ACT=f32"};

std::string error_of(const std::shared_ptr<OpenclDevice>& device) {
  try {
    const auto function = device->function("basic.cl", kDefinitions, "swiglu");
    device->finish_kernels({});
  } catch (const Error& error) {
    return error.what();
  }
  return {};
}

TEST(OpenclCompilers, ACrashIsSaidAndRemembered) {
  const TemporaryDirectory cache;
  const auto device = device_with(shell("kill -ABRT $$"), cache.path());
  if (device == nullptr) GTEST_SKIP() << "no OpenCL device";
  EXPECT_THAT(error_of(device), testing::HasSubstr("opencl:0: its driver ended the process that compiled swiglu of "
                                                   "basic.cl (signal 6, Aborted); 'v4rt cache clear'"));
  EXPECT_THAT(
      error_of(device_with({}, cache.path())),
      testing::HasSubstr("opencl:0: its driver ended a process that compiled or launched swiglu of basic.cl; 'v4rt"))
      << "it is not tried again";
  const std::vector<StoredEntry> entries = stored_entries(cache.path());
  ASSERT_EQ(entries.size(), 1u);
  EXPECT_FALSE(entries[0].problem.empty());
  EXPECT_FALSE(entries[0].device.empty()) << "so that it can be cleared by device";
  std::filesystem::remove(entries[0].path);
  EXPECT_EQ(error_of(device_with({}, cache.path())), "");
}

// What RMS norm gives there, or the error.
std::string norm_on(const std::vector<std::string>& compiler, const std::string& cache) {
  const std::vector<float> x{1, 2, 3, 4}, w{1, 1, 2, 1};
  const std::vector<TestTensor> inputs{TestTensor({DType::kF32, Shape{1, 4}}, x),
                                       TestTensor({DType::kF32, Shape{4}}, w)};
  const RmsNorm norm(1e-6f);
  try {
    const auto device = device_with(compiler, cache);
    return run_on(*device, norm, inputs)[0] == run_reference(norm, inputs)[0].values ? "right" : "wrong";
  } catch (const Error& error) {
    return error.what();
  }
}

TEST(OpenclCompilers, ALaunchThatEndsAProcessIsSaidAndRemembered) {
  const TemporaryDirectory cache;
  if (device_with({}, "") == nullptr) GTEST_SKIP() << "no OpenCL device";
  EXPECT_EQ(norm_on({}, cache.path()), "right") << "now the program is stored, and was tried by nobody";
  EXPECT_THAT(
      norm_on(shell("kill -SEGV $$"), cache.path()),
      testing::StartsWith("opencl:0: its driver ended the process that launched rms_norm_rows of rms_norm.cl for "
                          "the first time (signal 11, Segmentation fault); 'v4rt cache clear'"));
  EXPECT_THAT(norm_on({}, cache.path()),
              testing::HasSubstr("ended a process that compiled or launched rms_norm_rows of rms_norm.cl; 'v4rt"));
}

TEST(OpenclCompilers, ALaunchThatGoesWellIsNotTriedAgain) {
  const TemporaryDirectory cache;
  if (device_with({}, "") == nullptr) GTEST_SKIP() << "no OpenCL device";
  EXPECT_EQ(norm_on({}, cache.path()), "right");
  EXPECT_EQ(norm_on(shell("printf '\\2\\0\\0\\0\\0\\0\\0\\0ax' >&0; cat <&0 >/dev/null"), cache.path()), "right");
  EXPECT_EQ(norm_on(shell("kill -SEGV $$"), cache.path()), "right");
}

TEST(OpenclCompilers, ALaunchIsMadeWithItsArguments) {
  const std::vector<OpenclSite> sites = find_opencl_sites().sites;
  if (sites.empty()) GTEST_SKIP() << "no OpenCL device";
  const cl::Context context = open_context(sites[0], {}, "opencl:0");
  OpenclQueue queue(context.get(), sites[0].device, "opencl:0");
  const BufferPtr all = OpenclBuffer::allocate(context.get(), 64, std::make_shared<MemoryBudget>());
  const BufferPtr part = all->slice(32, 32);
  const std::string content(32, 'x');
  queue.upload(*part, 0, std::as_bytes(std::span(content)));

  // Without an end where an argument is another one.
  const ProgramText text{"f of a test",
                         "__kernel void f(__global const uchar* a, ulong at, int n, float x) {"
                         "  while (a[at] != 'x' || a[at + 31] != 'x' || n != -3 || x != 0.5f) {} }",
                         ""};
  FirstLaunch launch;
  const int32_t n = -3;
  const float x = 0.5f;
  launch.memory(0, memory_of(*part), part->bytes());
  launch.value(2, &n, sizeof(n));
  launch.value(3, &x, sizeof(x));
  launch.grid(1, {2, 1, 1});
  const auto make = [&](std::string_view kernel, std::string_view what) {
    return launched(context.get(), sites[0].device, text, "", kernel, what, "opencl:0");
  };
  const std::string what = launch.text(queue);
  EXPECT_EQ(make("f", what), answer_of("launched"));
  EXPECT_THAT(make("g", what), testing::HasSubstr("clCreateKernel"));
  for (size_t cut = 0; cut < what.size(); cut += 7)
    EXPECT_THAT(make("f", what.substr(0, cut)), testing::HasSubstr("a launch ends early"));
}

// Everything works with a command that is none: programs are built here.
TEST(OpenclCompilers, WithoutOneProgramsAreBuiltHere) {
  if (device_with({}, "") == nullptr) GTEST_SKIP() << "no OpenCL device";
  EXPECT_EQ(norm_on({"/nowhere/v4rt"}, ""), "right");
}

}  // namespace
}  // namespace v4rt
