#include <algorithm>
#include <chrono>
#include <functional>

#include "backend/opencl/kernels.h"
#include "backend/opencl/opencl_device.h"

namespace v4rt {
namespace {

constexpr int kPasses = 5;
constexpr double kLeastTime = 5e-3;  // of a pass: long beside a launch

// Seconds of the fastest pass. Of the launches that a pass needs to take long enough: of each.
double best_time(OpenclQueue& queue, const std::function<void()>& launch) {
  const auto seconds = [&](int launches) {
    const auto begin = std::chrono::steady_clock::now();
    for (int i = 0; i < launches; ++i) launch();
    queue.finish();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  };
  seconds(1);  // compiles, and touches the memory
  int launches = 1;
  while (launches < 1 << 16 && seconds(launches) < kLeastTime) launches *= 2;
  double best = seconds(launches);
  for (int pass = 1; pass < kPasses; ++pass) best = std::min(best, seconds(launches));
  return best / launches;
}

}  // namespace

DeviceSpeed OpenclDevice::measure_speed() {
  const bool vectors = capabilities_.lanes == Lanes::kVector;
  const size_t group = work_group(*this, 256);
  const size_t groups = static_cast<size_t>(capabilities_.compute_units) * (vectors ? 4 : 32), lanes = group * groups;
  const size_t width = vectors ? 16 : 4;
  OpenclQueue queue(context_.get(), site_.device, info_.name);
  const BufferPtr sums = allocate(lanes * sizeof(float));
  DeviceSpeed speed;

  size_t most = std::min(size_t{512} << 20, capabilities_.memory / 16);
  if (capabilities_.max_allocation > 0) most = std::min(most, capabilities_.max_allocation);
  const size_t turn = 4 * lanes * width * sizeof(float), turns = most / turn;  // a lane reads four at once
  if (turns > 0) {
    const BufferPtr data = allocate(turns * turn);
    queue.fill(*data, std::byte{0});
    const auto read = function("speed.cl", {}, "speed_read", group);
    const auto per_lane = narrow(static_cast<int64_t>(4 * turns));
    const double seconds = best_time(queue, [&] { (*read)(queue, {groups}, data, per_lane, sums); });
    speed.buffer_bytes = static_cast<double>(turns * turn);
    speed.read_gbs = speed.buffer_bytes / seconds / 1e9;
  }

  constexpr int32_t kRounds = 1 << 14;
  constexpr double kFlopPerRound = 2 * 8;  // of eight chains
  const auto multiply = function("speed.cl", {}, "speed_multiply", group);
  const double seconds = best_time(queue, [&] { (*multiply)(queue, {groups}, kRounds, 0.999f, 0.001f, sums); });
  speed.f32_gflops = kFlopPerRound * kRounds * static_cast<double>(lanes * width) / seconds / 1e9;
  return speed;
}

}  // namespace v4rt
