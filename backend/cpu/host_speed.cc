#include "backend/cpu/host_speed.h"

// The loops are compiled for every instruction set, and the best one of the processor is used. The accumulators are an
// array, which vectors of unknown size would not allow.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/host_speed.cc"
#include <hwy/foreach_target.h>  // IWYU pragma: keep
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace v4rt {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

constexpr int kChains = 12;  // covers latency times units of all machines we know, and fits in sixteen registers

// Sum of words; n is a multiple of what one round reads.
uint64_t sum_words(const uint64_t* words, size_t n) {
  const hn::ScalableTag<uint64_t> d;
  using V = hn::Vec<decltype(d)>;
  constexpr size_t kLoads = 8;
  V sums[kLoads];
  for (V& sum : sums) sum = hn::Zero(d);
  const size_t lanes = hn::Lanes(d);
  for (size_t i = 0; i < n; i += kLoads * lanes) {
    for (size_t j = 0; j < kLoads; ++j) sums[j] = hn::Add(sums[j], hn::Load(d, words + i + j * lanes));
  }
  V sum = sums[0];
  for (size_t j = 1; j < kLoads; ++j) sum = hn::Add(sum, sums[j]);
  return hn::GetLane(hn::SumOfLanes(d, sum));
}

// `rounds` fma in each of twelve chains of vectors. Returns the FLOP done; `sink` keeps the compiler from removing the
// work.
double multiply_add(int64_t rounds, float* sink) {
  const hn::ScalableTag<float> d;
  using V = hn::Vec<decltype(d)>;
  V chains[kChains];
  for (int j = 0; j < kChains; ++j) chains[j] = hn::Set(d, static_cast<float>(j));
  const V a = hn::Set(d, sink[0]), b = hn::Set(d, sink[1]);
  for (int64_t i = 0; i < rounds; ++i) {
    for (V& chain : chains) chain = hn::MulAdd(chain, a, b);
  }
  V sum = chains[0];
  for (int j = 1; j < kChains; ++j) sum = hn::Add(sum, chains[j]);
  sink[2] = hn::GetLane(hn::SumOfLanes(d, sum));
  return 2.0 * static_cast<double>(rounds) * kChains * static_cast<double>(hn::Lanes(d));
}

}  // namespace HWY_NAMESPACE
}  // namespace v4rt
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

#include <sys/mman.h>

#include <algorithm>
#include <barrier>
#include <chrono>
#include <functional>
#include <memory>
#include <system_error>
#include <thread>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "ops/core/error.h"
#include "ops/core/host.h"

namespace v4rt {

HWY_EXPORT(sum_words);
HWY_EXPORT(multiply_add);

namespace {

constexpr size_t kPart = size_t{2} << 20;  // parts of the buffer are multiples of a huge page

// Work done per second by `threads` threads that begin each pass together: the best of the passes. prepare(thread) runs
// once before them; work(thread) returns the amount of work it has done.
double best_rate(int threads, int passes, const std::function<void(int)>& prepare,
                 const std::function<double(int)>& work) {
  using Clock = std::chrono::steady_clock;
  std::vector<double> done(static_cast<size_t>(threads));
  std::barrier together(threads);
  double best = 0;
  const auto run = [&](int thread) {
    prepare(thread);
    for (int pass = 0; pass < passes; ++pass) {
      together.arrive_and_wait();
      const Clock::time_point begin = Clock::now();
      done[static_cast<size_t>(thread)] = work(thread);
      together.arrive_and_wait();
      if (thread > 0) continue;
      const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
      double sum = 0;
      for (const double part : done) sum += part;
      best = std::max(best, sum / seconds);
    }
  };
  std::vector<std::jthread> others;
  others.reserve(static_cast<size_t>(threads - 1));
  try {
    while (static_cast<int>(others.size()) + 1 < threads) others.emplace_back(run, static_cast<int>(others.size()) + 1);
  } catch (const std::system_error& e) {
    const int started = static_cast<int>(others.size());
    for (int thread = started; thread < threads; ++thread)
      together.arrive_and_drop();  // so that nobody waits for threads that did not start
    fail(Code::kOutOfMemory, "the speed of {1} threads: thread {0} does not start: {2}; ask for fewer", started + 2,
         threads, e.code().message());
  }
  run(0);
  return best;
}

void measure_reading(int n_threads, DeviceSpeed& speed) {
  const auto threads = static_cast<size_t>(n_threads);
  const size_t wanted = std::min(size_t{1} << 30, available_memory() / 4);
  const size_t part = std::max(kPart, wanted / threads / kPart * kPart), bytes = part * threads;
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return;
  (void)madvise(memory, bytes, MADV_HUGEPAGE);
  auto* words = static_cast<uint64_t*>(memory);
  const size_t part_words = part / sizeof(uint64_t);
  std::vector<uint64_t> sums(threads);
  const auto part_of = [&](int thread) { return words + static_cast<size_t>(thread) * part_words; };
  // Each thread touches its part first, so that the pages lie near it.
  const auto prepare = [&](int thread) { std::fill_n(part_of(thread), part_words, uint64_t{1}); };
  const auto work = [&](int thread) {
    sums[static_cast<size_t>(thread)] += HWY_DYNAMIC_DISPATCH(sum_words)(part_of(thread), part_words);
    return static_cast<double>(part);
  };
  speed.read_gbs = best_rate(n_threads, 8, prepare, work) / 1e9;
  speed.buffer_bytes = static_cast<double>(bytes);
  munmap(memory, bytes);
}

struct alignas(64) Sink {
  float values[3] = {0.999f, 0.001f, 0};  // so that chains stay near one
};

double measure_peak(int threads, double (*loop)(int64_t rounds, float* sink)) {
  constexpr int64_t kRounds =
      1'000'000;  // some milliseconds: long compared with starting, short compared with a time slice
  std::vector<Sink> sinks(static_cast<size_t>(threads));
  const auto work = [&](int thread) { return loop(kRounds, sinks[static_cast<size_t>(thread)].values); };
  const auto nothing = [](int) {};
  return best_rate(threads, 16, nothing, work) / 1e9;
}

#if defined(__x86_64__)
// As multiply_add, with the dot product of pairs: 32 multiply-adds an instruction.
__attribute__((target("avx512f,avx512bf16"))) double multiply_add_bf16(int64_t rounds, float* sink) {
  constexpr int kChains = 12;
  __m512 chains[kChains];
  for (int j = 0; j < kChains; ++j) chains[j] = _mm512_set1_ps(static_cast<float>(j));
  const __m512bh a = _mm512_cvtne2ps_pbh(_mm512_set1_ps(sink[0]), _mm512_set1_ps(sink[1]));
  for (int64_t i = 0; i < rounds; ++i) {
    for (__m512& chain : chains) chain = _mm512_dpbf16_ps(chain, a, a);
  }
  __m512 sum = chains[0];
  for (int j = 1; j < kChains; ++j) sum = _mm512_add_ps(sum, chains[j]);
  sink[2] = _mm512_cvtss_f32(sum);
  return 2.0 * 32 * static_cast<double>(rounds) * kChains;
}

// As multiply_add, with tiles of sixteen rows and columns by 32: four sums of the products of two by two tiles, which
// is as many as hide each other's latency.
double multiply_tiles(int64_t rounds, float* sink) {
  struct {
    uint8_t palette = 1, start_row = 0, reserved[14] = {};
    uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
    uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
  } config;
  static_assert(sizeof(config) == 64);
  alignas(64) float tile[256];
  std::fill_n(tile, 256, sink[1]);
  const int64_t stride = 64;
  asm volatile("ldtilecfg %0" : : "m"(config));
  asm volatile(
      "tilezero %%tmm0\n\ttilezero %%tmm1\n\ttilezero %%tmm2\n\ttilezero %%tmm3\n\t"
      "tileloadd (%0,%1,1), %%tmm4\n\ttileloadd (%0,%1,1), %%tmm5\n\t"
      "tileloadd (%0,%1,1), %%tmm6\n\ttileloadd (%0,%1,1), %%tmm7"
      :
      : "r"(tile), "r"(stride)
      : "memory");
  const int64_t turns = rounds / 4;
  for (int64_t i = 0; i < turns; ++i) {
    asm volatile(
        "tdpbf16ps %%tmm6, %%tmm4, %%tmm0\n\ttdpbf16ps %%tmm7, %%tmm4, %%tmm1\n\t"
        "tdpbf16ps %%tmm6, %%tmm5, %%tmm2\n\ttdpbf16ps %%tmm7, %%tmm5, %%tmm3" ::);
  }
  asm volatile("tilestored %%tmm0, (%0,%1,1)\n\ttilerelease" : : "r"(tile), "r"(stride) : "memory");
  sink[2] = tile[0];
  return 2.0 * 16 * 16 * 32 * static_cast<double>(4 * turns);
}

bool has_bf16() { return __builtin_cpu_supports("avx512bf16") != 0; }
#endif

}  // namespace

DeviceSpeed measure_host(int threads, [[maybe_unused]] bool matrix_unit) {
  DeviceSpeed speed;
  measure_reading(threads, speed);
  speed.f32_gflops =
      measure_peak(threads, [](int64_t n, float* sink) { return HWY_DYNAMIC_DISPATCH(multiply_add)(n, sink); });
#if defined(__x86_64__)
  if (has_bf16()) speed.bf16_gflops = measure_peak(threads, multiply_add_bf16);
  if (matrix_unit) speed.matrix_gflops = measure_peak(threads, multiply_tiles);
#endif
  return speed;
}

}  // namespace v4rt
#endif
