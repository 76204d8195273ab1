// Every op on every device against the reference: the same bits, from the same list of cases.

// The instruction sets of backend/cpu, before Highway is included.
#define HWY_DISABLED_TARGETS (HWY_AVX3_DL | HWY_SSSE3 | HWY_SSE4 | HWY_SVE | HWY_SVE_256 | HWY_SVE2 | HWY_SVE2_128)
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <hwy/targets.h>

#include <cstdlib>
#include <map>
#include <ostream>

#include "backend/conformance/case_data.h"
#include "backend/conformance/chain.h"
#include "backend/conformance/check.h"
#include "backend/cpu/cpu_device.h"
#include "backend/registry.h"
#ifdef V4RT_HAVE_OPENCL
#include "backend/opencl/opencl_device.h"
#endif

namespace v4rt {

void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }  // what GoogleTest shows of a case

namespace {

struct Target {
  std::string name, device;
  DeviceOptions options;
};

void PrintTo(const Target& target, std::ostream* out) { *out << target.name; }

// The CPU at several thread counts: sums must not depend on how work is split. Also with an emulated matrix unit and
// without any, so that the code of either is tested everywhere. OpenCL in both forms of its kernels, whichever the
// device would use.
std::vector<Target> targets() {
  std::vector<Target> list{{"cpu1", "cpu", {.threads = 1}},
                           {"cpu3", "cpu", {.threads = 3}},
                           {"tiles", "cpu", {.threads = 2}},
                           {"vectors", "cpu", {.threads = 2}}};
  for (const std::string& backend : built_in_backends()) {
    if (backend != "opencl") continue;
    list.push_back({"opencl_vector", "opencl", {.lanes = Lanes::kVector}});
    list.push_back({"opencl_work_items", "opencl", {.lanes = Lanes::kWorkItems}});
  }
  return list;
}

// OpenCL that is told to take subnormal numbers for zero, as PoCL then does.
std::vector<Target> flushing_targets() {
  std::vector<Target> list = targets();
  std::erase_if(list, [](const Target& target) { return target.device != "opencl"; });
  for (Target& target : list) target.name = "flushing_" + target.name;
  return list;
}

// Those that come to the end of the normal range, and one in four of the others.
std::vector<Case> flushing_cases() {
  std::vector<Case> cases = all_cases();
  size_t index = 0;
  std::erase_if(cases, [&](const Case& c) {
    const bool meant = c.name.find("steep") != std::string::npos || c.name.find("zeros") != std::string::npos;
    return !meant && index++ % 4 != 0;
  });
  return cases;
}

// OpenCL whose launches go on with what follows from them, which it would not do on a processor.
std::vector<Target> longer_targets() {
  std::vector<Target> list = targets();
  std::erase_if(list, [](const Target& target) { return target.device != "opencl"; });
  for (Target& target : list) target.name = "longer_" + target.name;
  return list;
}

// V4RT_CPU_TARGETS=AVX2 has the CPU's kernels run as on a machine that has nothing newer, where the build holds code
// for it (not with V4RT_NATIVE). Before the first kernel is chosen.
void limit_cpu_targets() {
  const char* newest = std::getenv("V4RT_CPU_TARGETS");
  if (newest == nullptr) return;
  int64_t disabled = 0;
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {  // newest first
    if (std::string_view(hwy::TargetName(target)) == newest) return hwy::DisableTargets(disabled);
    disabled |= target;
  }
  fail(Code::kInvalidArgument, "V4RT_CPU_TARGETS: no {} among this build's and this machine's", newest);
}

// As create_device, and told to take subnormal numbers for zero.
std::shared_ptr<Device> flushing_opencl([[maybe_unused]] Lanes lanes) {
#ifdef V4RT_HAVE_OPENCL
  const NamedSite found = find_opencl_site({});
  Capabilities capabilities = query_capabilities(found.site);
  capabilities.lanes = lanes;
  capabilities.denormals = false;
  return std::make_shared<OpenclDevice>(found.site, capabilities, found.name, "");
#else
  return nullptr;
#endif
}

// As create_device, and launches go on.
std::shared_ptr<Device> longer_opencl([[maybe_unused]] Lanes lanes) {
#ifdef V4RT_HAVE_OPENCL
  return create_opencl_device({}, {}, lanes, {}, {.goes_on = true});
#else
  return nullptr;
#endif
}

std::shared_ptr<Device> device_of(const Target& target) {
  static std::map<std::string, std::shared_ptr<Device>> devices;
  if (devices.empty()) limit_cpu_targets();
  auto& device = devices[target.name];
  if (device == nullptr && target.name == "tiles") {
    device = create_cpu_device(target.options.threads, {}, {.unit = simd::MatrixUnit::kEmulated});
  }
  if (device == nullptr && target.name == "vectors") {
    device = create_cpu_device(target.options.threads, {}, simd::vector_paths());
  }
  if (device == nullptr && target.name.starts_with("flushing_")) device = flushing_opencl(*target.options.lanes);
  if (device == nullptr && target.name.starts_with("longer_")) device = longer_opencl(*target.options.lanes);
  if (device == nullptr) device = create_device(target.device, target.options);
  return device;
}

class Conformance : public testing::TestWithParam<std::tuple<Target, Case>> {};

TEST_P(Conformance, SameBitsAsTheReference) {
  const auto& [target, c] = GetParam();
  EXPECT_THAT(check_case(*device_of(target), c), testing::IsEmpty());
}

std::string name_of(const testing::TestParamInfo<std::tuple<Target, Case>>& info) {
  return std::get<0>(info.param).name + "_" + std::get<1>(info.param).name;
}
INSTANTIATE_TEST_SUITE_P(Devices, Conformance,
                         testing::Combine(testing::ValuesIn(targets()), testing::ValuesIn(all_cases())), name_of);
INSTANTIATE_TEST_SUITE_P(FlushingDevices, Conformance,
                         testing::Combine(testing::ValuesIn(flushing_targets()), testing::ValuesIn(flushing_cases())),
                         name_of);

INSTANTIATE_TEST_SUITE_P(LongerLaunches, Conformance,
                         testing::Combine(testing::ValuesIn(longer_targets()), testing::ValuesIn(tail_cases())),
                         name_of);

// What is said to be done by one launch is.
TEST(ConformanceCases, DevicesThatJoinLaunchesJoinTheChains) {
  for (const Target& target : targets()) {
    const JoiningDevice* device = joining(*device_of(target));
    EXPECT_EQ(device != nullptr, target.device == "opencl") << target.name;
    for (const Case& c : chain_cases()) {
      std::vector<TensorType> types;
      for (size_t i = 0; i < c.inputs.size(); ++i) types.push_back(input_type(*device_of(target), c, i));
      const std::vector<Chain::Member> members = dynamic_cast<const Chain&>(*c.op).members(types);
      std::vector<JoinedCall> calls;
      for (const Chain::Member& member : members) calls.push_back(member.joined());
      EXPECT_TRUE(device == nullptr || device->joins(calls)) << target.name << ": " << c.name;
    }
  }
}

TEST(ConformanceCases, LaunchesThatGoOnJoinTheTails) {
  for (const Target& target : longer_targets()) {
#ifdef V4RT_HAVE_OPENCL
    if (query_capabilities(find_opencl_site({}).site).fenced_language.empty())
      GTEST_SKIP() << "no fences of device scope";
#endif
    const std::shared_ptr<Device> device = device_of(target);
    for (const Case& c : tail_cases()) {
      std::vector<TensorType> types;
      for (size_t i = 0; i < c.inputs.size(); ++i) types.push_back(input_type(*device, c, i));
      std::vector<JoinedCall> calls;
      const std::vector<Chain::Member> members = dynamic_cast<const Chain&>(*c.op).members(types);
      for (const Chain::Member& member : members) calls.push_back(member.joined());
      EXPECT_TRUE(joining(*device)->joins(calls)) << target.name << ": " << c.name;
    }
  }
}

// No op kind without a case: a new op cannot be forgotten here.
TEST(ConformanceCases, CoverEveryOp) {
  std::map<OpKind, int> seen;
  for (const Case& c : all_cases()) ++seen[c.op->kind()];
  for (int k = 0; k < static_cast<int>(OpKind::kCount); ++k) {
    EXPECT_GT(seen[static_cast<OpKind>(k)], 0) << name(static_cast<OpKind>(k));
  }
}

}  // namespace
}  // namespace v4rt
