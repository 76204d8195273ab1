#include "backend/cpu/simd/amx.h"

#include "backend/cpu/simd/tiles.h"

#if defined(__x86_64__) && defined(__linux__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <random>

namespace v4rt::simd {
namespace {

bool processor_has_it() {
  constexpr unsigned kBf16 = 1u << 22, kTile = 1u << 24, kInt8 = 1u << 25;
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (d & (kBf16 | kTile | kInt8)) == (kBf16 | kTile | kInt8);
}

// A process must ask the kernel before it uses the tile registers.
bool system_permits_it() {
  constexpr long kRequestPermission = 0x1023, kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

// Random tiles over a wide range of magnitudes, against the definition, which the emulation spells out.
bool order_is_ours() {
  std::mt19937 random(1);
  const auto number = [&] {  // sign, an exponent within 2^+-12 of one, mantissa
    return static_cast<uint32_t>((random() & 0x807fu) | ((115u + random() % 25u) << 7));
  };
  alignas(64) uint32_t a[kTileWords], b[kTileWords], sums[2][kTileWords] = {};
  EmulatedTiles expected;
  AmxTiles tiles;
  expected.zero<0>();
  tiles.zero<0>();
  for (int step = 0; step < 20; ++step) {
    for (uint32_t& pair : a) pair = number() | number() << 16;
    for (uint32_t& pair : b) pair = number() | number() << 16;
    expected.load<1>(a, 64);
    expected.load<2>(b, 64);
    expected.add_bf16<0, 1, 2>();
    tiles.load<1>(a, 64);
    tiles.load<2>(b, 64);
    tiles.add_bf16<0, 1, 2>();
  }
  expected.store<0>(sums[0], 64);
  tiles.store<0>(sums[1], 64);
  return std::memcmp(sums[0], sums[1], sizeof(sums[0])) == 0;
}

AmxState ask() {
  if (!processor_has_it()) return {false, "this processor has none"};
  if (!system_permits_it()) return {false, "the operating system does not permit it"};
  if (!order_is_ours()) return {false, "it adds in another order"};
  return {true, {}};
}

}  // namespace

const AmxState& amx() {
  static const AmxState state = ask();
  return state;
}

}  // namespace v4rt::simd

#else

namespace v4rt::simd {

const AmxState& amx() {
  static const AmxState state;
  return state;
}

}  // namespace v4rt::simd

#endif
