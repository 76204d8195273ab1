#include "backend/cpu/simd/pair_attend.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/simd/pair_attend.cc"
#include <hwy/foreach_target.h>  // IWYU pragma: keep

#include "backend/cpu/simd/attend_pack.h"
#include "backend/cpu/simd/pairs-inl.h"

HWY_BEFORE_NAMESPACE();
namespace v4rt::simd {
namespace HWY_NAMESPACE {

#if HWY_TARGET == HWY_AVX3

constexpr int kTileChain = kDotChain / 2;  // words of one chain of a tile's block

// sums[r][v] += e + o of a block of 32: words x[16 r + i] of kRows rows with vectors w[v * far + 16 i].
template <int kRows, int kVectors>
HWY_INLINE void add_block(const uint32_t* x, const uint32_t* w, int64_t far, __m512 (&sums)[kRows][kVectors]) {
  __m512 chains[2][kRows][kVectors];
#pragma GCC unroll 2
  for (auto& chain : chains)
#pragma GCC unroll 8
    for (auto& row : chain)
#pragma GCC unroll 8
      for (__m512& sum : row) sum = _mm512_setzero_ps();
#pragma GCC unroll 8
  for (int i = 0; i < kTileChain; ++i) {
#pragma GCC unroll 2
    for (int c = 0; c < 2; ++c) {
      const int word = c * kTileChain + i;
      __m512i vectors[kVectors];
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) vectors[v] = _mm512_loadu_si512(w + v * far + 16 * word);
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) {
        const __m512i pair = _mm512_set1_epi32(static_cast<int>(x[16 * r + word]));
#pragma GCC unroll 8
        for (int v = 0; v < kVectors; ++v) add_products(chains[c][r][v], vectors[v], pair);
      }
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v)
      sums[r][v] = _mm512_add_ps(sums[r][v], _mm512_add_ps(chains[0][r][v], chains[1][r][v]));
}

template <int kUnits>
void scores_of(const uint32_t* q, const uint32_t* rows, int64_t tiles, float* scores, int64_t unit) {
  constexpr int kRows = 8 / kUnits;  // so that sums hide each other's latency
  for (int first = 0; first < kTileRows; first += kRows) {
    __m512 sums[kRows][kUnits];
    for (auto& row : sums)
      for (__m512& sum : row) sum = _mm512_setzero_ps();
    for (int64_t at = 0; at < tiles * kTileWords; at += kTileWords)
      add_block(rows + at + 16 * first, q + at, tiles * kTileWords, sums);
    for (int r = 0; r < kRows; ++r)
      for (int u = 0; u < kUnits; ++u) _mm512_storeu_ps(scores + u * unit + (first + r) * kAttendUnit, sums[r][u]);
  }
}

void scores(const uint32_t* q, const uint32_t* rows, int64_t tiles, int units, float* to, int64_t unit) {
  units == 2 ? scores_of<2>(q, rows, tiles, to, unit) : scores_of<1>(q, rows, tiles, to, unit);
}

void values(const uint32_t* weights, const uint32_t* rows, int64_t half, int64_t n, float* acc, int64_t stride) {
  constexpr int kHeads = 4, kVectors = 2;
  for (int h = 0; h < kAttendUnit; h += kHeads, weights += 16 * kHeads, acc += kHeads * stride)
    for (int64_t d = 0; d < n; d += 16 * kVectors) {
      __m512 sums[kHeads][kVectors];
      for (int i = 0; i < kHeads; ++i)
        for (int v = 0; v < kVectors; ++v) sums[i][v] = _mm512_loadu_ps(acc + i * stride + d + 16 * v);
      for (int64_t part = 0; part < kHalves; ++part)
        add_block(weights + part * kTileWords, rows + part * half + d / 16 * kTileWords, kTileWords, sums);
      for (int i = 0; i < kHeads; ++i)
        for (int v = 0; v < kVectors; ++v) _mm512_storeu_ps(acc + i * stride + d + 16 * v, sums[i][v]);
    }
}

const PairAttend* pair_attend_for() {
  static constexpr PairAttend kFns{scores, values};
  return &kFns;
}

#else

const PairAttend* pair_attend_for() { return nullptr; }

#endif

}  // namespace HWY_NAMESPACE
}  // namespace v4rt::simd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace v4rt::simd {

HWY_EXPORT(pair_attend_for);

const PairAttend* pair_attend() { return HWY_DYNAMIC_DISPATCH(pair_attend_for)(); }

}  // namespace v4rt::simd
#endif
