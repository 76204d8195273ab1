// Time, GB/s and GFLOP/s of single ops on every device: the cases of the conformance suite, and shapes of V4-Flash.

#include <benchmark/benchmark.h>

#include <algorithm>
#include <map>
#include <string>

#include "backend/registry.h"
#include "bench/bound_case.h"
#include "bench/flash_cases.h"

namespace v4rt {
namespace {

// Memory that cold cases use in turn: more than caches hold.
constexpr size_t kColdBytes = size_t{512} << 20;

size_t input_bytes(const Case& c) {
  size_t sum = 0;
  for (const TensorType& type : c.inputs) sum += type.bytes() + type.scale_bytes();
  return sum;
}

// Of random FP8 codes one in sixteen is zero or subnormal, of trained weights hardly any; kernels may tell them apart.
CaseData ordinary_data(const Case& c) {
  CaseData data = make_data(c);
  for (size_t i = 0; i < c.inputs.size(); ++i) {
    if (c.inputs[i].dtype != DType::kFp8) continue;
    for (std::byte& code : data.values[i])
      if ((code & std::byte{0x78}) == std::byte{0}) code |= std::byte{0x40};
  }
  return data;
}

// Binds a case once, however often it runs; holds one at a time.
class Runner {
 public:
  void run(benchmark::State& state, const std::string& device, const Case& c, bool cold) {
    try {
      BoundCase& bound = bind(device, c, cold);
      for (auto _ : state) bound.run();
      report(state, bound.cost());
    } catch (const Error& e) {
      state.SkipWithError(e.what());
    }
  }

 private:
  BoundCase& bind(const std::string& name, const Case& c, bool cold) {
    const std::string key = name + "/" + c.name;
    if (key == key_) return *bound_;
    bound_.reset();
    key_.clear();
    std::shared_ptr<Device>& device = devices_[name];
    if (device == nullptr) device = create_device(name);
    const size_t copies = cold ? kColdBytes / std::max<size_t>(input_bytes(c), 1) + 1 : 1;
    bound_ = std::make_unique<BoundCase>(device, c, ordinary_data(c), std::min<size_t>(copies, 64));
    key_ = key;
    return *bound_;
  }

  static void report(benchmark::State& state, const Cost& cost) {
    const auto rate = [](double amount) {
      return benchmark::Counter(amount / 1e9, benchmark::Counter::kIsIterationInvariantRate);
    };
    state.counters["GB/s"] = rate(cost.weight_bytes + cost.state_bytes + cost.io_bytes);
    state.counters["GFLOP/s"] = rate(cost.flops);
  }

  std::map<std::string, std::shared_ptr<Device>> devices_;
  std::string key_;
  std::unique_ptr<BoundCase> bound_;
};

void add(Runner& runner, const std::string& device, const std::string& group, const Case& c, bool cold) {
  benchmark::RegisterBenchmark((device + "/" + group + c.name).c_str(), [&runner, device, c,
                                                                         cold](benchmark::State& state) {
    runner.run(state, device, c, cold);
  })->UseRealTime();
}

void add_all(Runner& runner) {
  for (const DeviceInfo& device : list_devices().devices) {
    for (const Case& c : flash_cases()) {
      // The reference is slow: one token is enough to compare with.
      if (device.name != "reference" || n_tokens(c) == 1) add(runner, device.name, "flash/", c, true);
    }
    for (const Case& c : all_cases()) add(runner, device.name, "", c, false);
  }
}

int main(int argc, char** argv) {
  Runner runner;
  add_all(runner);
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}

}  // namespace
}  // namespace v4rt

int main(int argc, char** argv) { return v4rt::main(argc, argv); }
