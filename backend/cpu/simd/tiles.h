#pragma once

// The tile registers of a matrix unit: eight of sixteen rows of 64 bytes. Kernels take them as a type, so that the same
// code runs on AMX and, in tests, where there is none.

#include <cstdint>
#include <cstring>

#include "backend/cpu/simd/amx.h"
#include "backend/cpu/simd/dot.h"
#include "ops/core/error.h"
#include "ops/core/exact_math.h"
#include "ops/core/exact_sum.h"

namespace v4rt::simd {

inline constexpr int64_t kTileRows = 16;
inline constexpr int64_t kTileWords = 16 * 16;  // of 32 bits
inline constexpr int64_t kTileBytes = 4 * kTileWords;

#if defined(__x86_64__)

// AMX. Each thread configures its own; nobody may call what could use them before amx().works says so.
class AmxTiles {
 public:
  // The first `few` tiles have only `rows` rows: products of fewer rows are sooner done.
  explicit AmxTiles(int few = 0, int rows = 16) {
    struct {
      uint8_t palette = 1, start_row = 0, reserved[14] = {};
      uint16_t row_bytes[16] = {};
      uint8_t rows[16] = {};
    } config;
    static_assert(sizeof(config) == 64);
    for (int tile = 0; tile < 8; ++tile) {
      config.row_bytes[tile] = 64;
      config.rows[tile] = static_cast<uint8_t>(tile < few ? rows : 16);
    }
    asm volatile("ldtilecfg %0" : : "m"(config));
  }
  ~AmxTiles() { asm volatile("tilerelease"); }
  AmxTiles(const AmxTiles&) = delete;
  AmxTiles& operator=(const AmxTiles&) = delete;

  template <int kTile>
  void zero() {
    asm volatile("tilezero %%tmm%c0" : : "i"(kTile));
  }
  // Rows are `stride` bytes apart.
  template <int kTile>
  void load(const void* from, int64_t stride) {
    asm volatile("tileloadd (%0,%1,1), %%tmm%c2" : : "r"(from), "r"(stride), "i"(kTile) : "memory");
  }
  template <int kTile>
  void store(void* to, int64_t stride) {
    asm volatile("tilestored %%tmm%c2, (%0,%1,1)" : : "r"(to), "r"(stride), "i"(kTile) : "memory");
  }
  // sum[m][n] += dot of the 32 bf16 pairs places: a[m] holds elements (i, 16 + i) side by side, b[i] the same of column
  // n.
  template <int kSum, int kA, int kB>
  void add_bf16() {
    asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(kSum), "i"(kA), "i"(kB));
  }
  // sum[m][n] += sum over i of the four products of signed bytes of a[m][i] and b[i][n].
  template <int kSum, int kA, int kB>
  void add_int8() {
    asm volatile("tdpbssd %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(kSum), "i"(kA), "i"(kB));
  }
};

#endif

// The same, one number at a time: also that subnormal numbers are taken for zero.
class EmulatedTiles {
 public:
  explicit EmulatedTiles(int few = 0, int rows = 16) : few_(few), rows_(rows) {}

  template <int kTile>
  void zero() {
    std::memset(tile_[kTile], 0, kTileBytes);
  }
  template <int kTile>
  void load(const void* from, int64_t stride) {
    for (int r = 0; r < rows(kTile); ++r) std::memcpy(tile_[kTile][r], static_cast<const char*>(from) + r * stride, 64);
  }
  template <int kTile>
  void store(void* to, int64_t stride) {
    for (int r = 0; r < rows(kTile); ++r) std::memcpy(static_cast<char*>(to) + r * stride, tile_[kTile][r], 64);
  }
  template <int kSum, int kA, int kB>
  void add_bf16() {
    for (int m = 0; m < rows(kSum); ++m)
      for (int n = 0; n < 16; ++n) {
        float e = 0, o = 0;
        for (int i = 0; i < kDotChain; ++i) {
          const uint32_t a = tile_[kA][m][i], b = tile_[kB][i][n];
          e = flushed(em_fma(flushed(em_float(a << 16)), flushed(em_float(b << 16)), e));
          o = flushed(em_fma(flushed(em_float(a & 0xffff0000u)), flushed(em_float(b & 0xffff0000u)), o));
        }
        uint32_t& sum = tile_[kSum][m][n];
        sum = em_bits(flushed(flushed(em_float(sum)) + flushed(e + o)));
      }
  }
  template <int kSum, int kA, int kB>
  void add_int8() {
    for (int m = 0; m < rows(kSum); ++m)
      for (int n = 0; n < 16; ++n)
        for (int i = 0; i < 16; ++i)
          for (int byte = 0; byte < 32; byte += 8) {
            const auto a = static_cast<int8_t>(tile_[kA][m][i] >> byte),
                       b = static_cast<int8_t>(tile_[kB][i][n] >> byte);
            tile_[kSum][m][n] += static_cast<uint32_t>(int32_t{a} * b);
          }
  }

 private:
  static float flushed(float x) { return (em_bits(x) & 0x7f800000u) == 0 ? em_float(em_bits(x) & 0x80000000u) : x; }

  int rows(int tile) const { return tile < few_ ? rows_ : 16; }

  const int few_, rows_;
  alignas(64) uint32_t tile_[8][16][16] = {};
};

// fn.operator()<Tiles>() with the tiles of `unit`, which is one. Throws Error(kUnsupported) where it does not work.
template <class Fn>
auto with_tiles(MatrixUnit unit, const Fn& fn) {
#if defined(__x86_64__)
  if (unit == MatrixUnit::kAmx) {
    check(amx().works, Code::kUnsupported, "no amx: {}", amx().refusal);
    return fn.template operator()<AmxTiles>();
  }
#endif
  return fn.template operator()<EmulatedTiles>();
}

}  // namespace v4rt::simd
