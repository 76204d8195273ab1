#include "backend/cpu/simd/pairs.h"

#include <algorithm>
#include <bit>
#include <chrono>
#include <cstdint>
#include <random>

#include "backend/cpu/simd/element.h"

#if defined(__x86_64__)
#include <immintrin.h>

namespace v4rt::simd {
namespace {

[[gnu::target("avx512f")]] inline void pair_dot(__m512& c, __m512i a, __m512i b) {
  asm("vdpbf16ps %2, %1, %0" : "+v"(c) : "v"(a), "v"(b));
}
// A chain of sums of random normal numbers over a wide range of magnitudes, against the definition.
[[gnu::target("avx512f")]] bool order_is_ours() {
  std::mt19937 random(1);
  const auto number = [&] {  // sign, an exponent within 2^+-12 of one, mantissa
    return static_cast<uint32_t>((random() & 0x807fu) | ((115u + random() % 25u) << 7));
  };
  alignas(64) uint32_t a[16], b[16];
  alignas(64) float c[16], expected[16] = {};
  for (int step = 0; step < 2000; ++step) {
    if (step % 32 == 0) std::fill_n(expected, 16, 0.0f);
    std::copy_n(expected, 16, c);
    for (int i = 0; i < 16; ++i) {
      a[i] = number() | number() << 16;
      b[i] = number() | number() << 16;
      const auto odd = [](uint32_t pair) { return em_float(pair & 0xffff0000u); };
      const auto even = [](uint32_t pair) { return em_float(pair << 16); };
      expected[i] = em_fma(even(a[i]), even(b[i]), em_fma(odd(a[i]), odd(b[i]), expected[i]));
    }
    __m512 sum = _mm512_load_ps(c);
    pair_dot(sum, _mm512_load_si512(a), _mm512_load_si512(b));
    _mm512_store_ps(c, sum);
    if (!std::equal(c, c + 16, expected)) return false;
  }
  return true;
}

// Eight independent sums, enough to hide the latency of either instruction.
void eight_pair_dots() {
  asm volatile(
      "vdpbf16ps %%zmm8, %%zmm8, %%zmm0\n vdpbf16ps %%zmm8, %%zmm8, %%zmm1\n vdpbf16ps %%zmm8, %%zmm8, %%zmm2\n"
      "vdpbf16ps %%zmm8, %%zmm8, %%zmm3\n vdpbf16ps %%zmm8, %%zmm8, %%zmm4\n vdpbf16ps %%zmm8, %%zmm8, %%zmm5\n"
      "vdpbf16ps %%zmm8, %%zmm8, %%zmm6\n vdpbf16ps %%zmm8, %%zmm8, %%zmm7\n"
      :
      :
      : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8");
}
void eight_fused() {
  asm volatile(
      "vfmadd231ps %%zmm8, %%zmm8, %%zmm0\n vfmadd231ps %%zmm8, %%zmm8, %%zmm1\n vfmadd231ps %%zmm8, %%zmm8, %%zmm2\n"
      "vfmadd231ps %%zmm8, %%zmm8, %%zmm3\n vfmadd231ps %%zmm8, %%zmm8, %%zmm4\n vfmadd231ps %%zmm8, %%zmm8, %%zmm5\n"
      "vfmadd231ps %%zmm8, %%zmm8, %%zmm6\n vfmadd231ps %%zmm8, %%zmm8, %%zmm7\n"
      :
      :
      : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8");
}

// Seconds for a thousand times eight of one instruction, on zeros.
template <class Eight>
double run_time(const Eight& eight) {
  const auto start = std::chrono::steady_clock::now();
  asm volatile("vzeroall" : : : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8");
  for (int i = 0; i < 1000; ++i) eight();
  asm volatile("vzeroupper");
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// A pair instruction does the work of two. The margin, and timing the two in turns, allow for a busy machine.
bool pairs_are_faster() {
  double pair_dots = 1, fused = 1;
  for (int run = 0; run < 9; ++run) {
    pair_dots = std::min(pair_dots, run_time(eight_pair_dots));
    fused = std::min(fused, run_time(eight_fused));
  }
  return pair_dots < 1.6 * fused;
}

}  // namespace

bool pairs_work() {
  static const bool work =
      __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512bf16") && order_is_ours();
  return work;
}

bool pairs_pay() {
  static const bool pay = pairs_work() && pairs_are_faster();
  return pay;
}

}  // namespace v4rt::simd

#else

namespace v4rt::simd {

bool pairs_work() { return false; }
bool pairs_pay() { return false; }

}  // namespace v4rt::simd

#endif
