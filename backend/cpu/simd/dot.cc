#include "backend/cpu/simd/dot.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/simd/dot.cc"
#include <hwy/foreach_target.h>  // IWYU pragma: keep

#include <algorithm>
#include <cstring>
#include <type_traits>

#include "backend/cpu/simd/amx.h"
#include "backend/cpu/simd/integers-inl.h"
#include "backend/cpu/simd/integers.h"
#include "backend/cpu/simd/pairs-inl.h"
#include "backend/cpu/simd/pairs.h"
#include "backend/cpu/simd/tile-inl.h"
#include "backend/cpu/simd/tile_dot.h"
#include "backend/cpu/simd/weights-inl.h"
#include "ops/core/arith.h"
#include "ops/core/error.h"

HWY_BEFORE_NAMESPACE();
namespace v4rt::simd {
namespace HWY_NAMESPACE {

template <class T>
void pack(const void* x, int64_t stride, int64_t k, const int32_t* index, int64_t rows, int64_t begin, int64_t end,
          float* memory) {
  const T* from = static_cast<const T*>(x);
  for (int64_t r = begin; r < end; ++r) {
    const int64_t row = index != nullptr ? index[r] : r;
    for (int64_t at = 0; at < k; at += kPackBlock) {
      const T* source = from + row * stride + at;
      float* to = memory + at * rows + r * kPackBlock;
      const int64_t n = row < 0 ? 0 : std::min(kPackBlock, k - at);
      for (int64_t i = 0; i < n; ++i) to[i] = load(source + i);
      for (int64_t i = n; i < kPackBlock; ++i) to[i] = 0;
    }
  }
}

// One of the rows of x: block b of kPackBlock elements is at data + b * step * kPackBlock, as pairs at half of that,
// and its mark at fragile + b * step.
struct Row {
  const float* data;
  const uint32_t *pairs, *fragile;
  int64_t step;
  const Integers* integers;
};
HWY_INLINE Row row_of(const Packed& x, int64_t row) {
  Row one{
      .data = x.data + row * kPackBlock, .pairs = nullptr, .fragile = nullptr, .step = x.rows, .integers = x.integers};
  if (x.pairs != nullptr) {
    one.pairs = x.pairs + row * (kPackBlock / 2);
    one.fragile = x.fragile + row;
  }
  return one;
}

// Whether a few rows are multiplied as pairs: FP8 becomes those with less work than floats, and then is safe.
template <class W, bool kPairs>
constexpr bool kFewPairs = kPairs&& std::is_same_v<W, Fp8Weights>;

// Rows of x whose sums, with those of as many groups of weights, stay in registers. More rows share what decoding
// costs, which is most for the shortest types, with panels and tiles.
template <class W, bool kPairs>
constexpr int few_rows() {
  if (kParts > 1) return 2;
  return W::kUnit > 2 && !kFewPairs<W, kPairs> ? 4 : 8;
}
template <int kRows, bool kPairs>
constexpr int few_groups() {
  if (kPairs) return 8 / kRows;
  if (kRows == 1) return kVectorGroups;
  if (kParts > 1) return kParts == 2 ? 2 : 1;
  return std::min(4, 16 / kRows);
}

// One word of k; x[r] + k is where row r is.
template <class W, bool kCareful, int kGroups, int kRows>
HWY_INLINE void step(const uint32_t* (&p)[kGroups], int64_t far, const float* const (&x)[kRows], int64_t k,
                     F16 (&c)[kRows][kGroups]) {
  // Of a lone row, the weights of all groups would take more registers than its elements do.
  constexpr int kTogether = kRows == 1 ? 1 : kGroups;  // NOLINT(bugprone-branch-clone): kGroups may be 1
#pragma GCC unroll 8
  for (int first = 0; first < kGroups; first += kTogether) {
    F16 w[kTogether][W::kUnit];
#pragma GCC unroll 8
    for (int g = 0; g < kTogether; ++g) decode_unit<W, kCareful>(p[first + g], w[g]);
#pragma GCC unroll 8
    for (int j = 0; j < W::kUnit; ++j) {
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) {
        const F16 v = splat(x[r][k + j]);
#pragma GCC unroll 8
        for (int g = 0; g < kTogether; ++g) c[r][first + g] = fma(v, w[g][j], c[r][first + g]);
      }
    }
#pragma GCC unroll 8
    for (int g = first; g < first + kTogether; ++g) {
      fetch(p[g], far);
      p[g] += 16;
    }
  }
}

// One chain over n elements from x[r] + at on; p moves past it. Weights and x are zero in the rest of an incomplete
// last word.
template <class W, int kGroups, int kRows>
HWY_INLINE void sum_chain(const uint32_t* (&p)[kGroups], int64_t far, const float* const (&x)[kRows], int64_t at,
                          int64_t n, F16 (&c)[kRows][kGroups]) {
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 8
    for (int g = 0; g < kGroups; ++g) c[r][g] = zero();
  for (int64_t k = at; k < at + n; k += W::kUnit) {
    if (HWY_UNLIKELY((any_rare<W, kGroups>(p)))) {
      step<W, true, kGroups, kRows>(p, far, x, k, c);
    } else {
      step<W, false, kGroups, kRows>(p, far, x, k, c);
    }
  }
}

#if HWY_TARGET == HWY_AVX3
// e + o of the block of pairs from element `at` on of kRows rows, which are safe; p moves past it. Both chains at once,
// for a product takes many cycles.
template <class W, int kGroups, int kRows>
HWY_INLINE void sum_pairs(const uint32_t* (&p)[kGroups], int64_t far, const Row (&x)[kRows], int64_t at,
                          F16 (&c)[kRows][kGroups]) {
  constexpr int kUnitPairs = W::kUnit / 2, kChainUnits = kDotChain / W::kUnit;
  const uint32_t* pairs[kRows];
  for (int r = 0; r < kRows; ++r)
    pairs[r] = x[r].pairs + (at / kPackBlock * x[r].step * kPackBlock + at % kPackBlock) / 2;
  __m512 sums[2][kRows][kGroups];
#pragma GCC unroll 2
  for (auto& chain : sums)
#pragma GCC unroll 8
    for (auto& row : chain)
#pragma GCC unroll 8
      for (__m512& sum : row) sum = _mm512_setzero_ps();
#pragma GCC unroll 8
  for (int unit = 0; unit < kChainUnits; ++unit) {
#pragma GCC unroll 2
    for (int chain = 0; chain < 2; ++chain) {
      const int first = chain * kChainUnits + unit;
#pragma GCC unroll 8
      for (int g = 0; g < kGroups; ++g) {
        const uint32_t* words = p[g] + first * 16;
        __m512i w[kUnitPairs];
        unit_pairs<W>(words, w);
        __builtin_prefetch(words + far, 0, 3);  // loads run so far ahead that a nearer one comes too late
#pragma GCC unroll 8
        for (int j = 0; j < kUnitPairs; ++j) {
#pragma GCC unroll 8
          for (int r = 0; r < kRows; ++r)
            add_products(sums[chain][r][g], w[j],
                         _mm512_set1_epi32(static_cast<int>(pairs[r][first * kUnitPairs + j])));
        }
      }
    }
  }
#pragma GCC unroll 8
  for (int g = 0; g < kGroups; ++g) {
    p[g] += 2 * kChainUnits * 16;
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) c[r][g] = F16(VF{_mm512_add_ps(sums[0][r][g], sums[1][r][g])});
  }
}
#endif

// e + o of a block of n elements of kRows rows, from element `at` on, by the fastest way that its numbers allow; p
// moves past it. `by_pairs`: all of it is there as pairs, which are safe.
template <class W, bool kPairs, int kGroups, int kRows>
HWY_INLINE void sum_block(const uint32_t* (&p)[kGroups], int64_t far, const Row (&x)[kRows], int64_t at, int64_t n,
                          [[maybe_unused]] bool by_pairs, F16 (&c)[kRows][kGroups]) {
#if HWY_TARGET == HWY_AVX3
  if constexpr (kFewPairs<W, kPairs>) {
    if (HWY_LIKELY(by_pairs)) return sum_pairs<W, kGroups, kRows>(p, far, x, at, c);
  }
  if constexpr (std::is_same_v<W, Fp4Weights>) {
    const Integers* integers[kRows];
    int limbs = 0;
    bool all = true;
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      integers[r] = x[r].integers + at / kDotBlock;
      const int needed = x[r].integers == nullptr ? 0 : integers[r]->limbs;
      all &= needed != 0;
      limbs = std::max(limbs, needed);
    }
    if (all) {
#pragma GCC unroll 8
      for (int g = 0; g < kGroups; ++g) {
        limbs == 3 ? sum_integers<true, kRows>(p[g], far, integers, &c[0][g], kGroups)
                   : sum_integers<false, kRows>(p[g], far, integers, &c[0][g], kGroups);
        p[g] += 4 * 16;
      }
      return;
    }
  }
#endif
  const float* from[kRows];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) from[r] = x[r].data + at / kPackBlock * x[r].step * kPackBlock + at % kPackBlock;
  F16 o[kRows][kGroups];
  sum_chain<W, kGroups, kRows>(p, far, from, 0, std::min<int64_t>(n, kDotChain), c);
  sum_chain<W, kGroups, kRows>(p, far, from, kDotChain, n - kDotChain, o);
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 8
    for (int g = 0; g < kGroups; ++g) c[r][g] = c[r][g] + o[r][g];
}

// The products of x[r] with kGroups groups, to y[r].
template <class W, bool kPairs, int kGroups, int kRows>
void sum_rows(const Matrix& w, int64_t group, const Row (&x)[kRows], float* const (&y)[kRows]) {
  constexpr int64_t kBlockWords = W::kScaleBlock / W::kUnit * 16;
  const int64_t stride = w.words * 16;
  const uint32_t* p[kGroups];
  F16 total[kRows][kGroups];
  for (int g = 0; g < kGroups; ++g) {
    p[g] = w.values + (group + g) * stride;
    for (int r = 0; r < kRows; ++r) total[r][g] = zero();
  }
  const uint32_t* const end = p[0] + stride;
  for (int64_t at = 0, block = 0; at < w.k; at += W::kScaleBlock, ++block) {
    // At the end of a group, the far prefetch reaches into the next group of the same stream.
    const int64_t far = p[0] + kBlockWords + kFar <= end ? kFar : kFar + (kGroups - 1) * stride;
    [[maybe_unused]] const int64_t ahead_of_scales = block + 16 < w.blocks ? 256 : 256 + (kGroups - 1) * w.blocks * 16;
    F16 scale[kGroups];
    for (int g = 0; g < kGroups; ++g) scale[g] = block_scale<W>(w, group + g, block);
    bool by_pairs = kFewPairs<W, kPairs> && at + kPackBlock <= w.k;
    if constexpr (kFewPairs<W, kPairs>)
      for (int r = 0; r < kRows; ++r) by_pairs &= x[r].fragile[block * x[r].step] == 0;
    for (int64_t k = at; k < std::min<int64_t>(at + W::kScaleBlock, w.k); k += kDotBlock) {
      F16 c[kRows][kGroups];
      sum_block<W, kPairs, kGroups, kRows>(p, far, x, k, std::min<int64_t>(kDotBlock, w.k - k), by_pairs, c);
      for (int r = 0; r < kRows; ++r)
        for (int g = 0; g < kGroups; ++g) total[r][g] = fma(c[r][g], scale[g], total[r][g]);
    }
    if constexpr (W::kScaleBlock == kDotBlock) {
      for (int g = 0; g < kGroups; ++g)
        hwy::Prefetch(w.scales + ((group + g) * w.blocks + block) * 16 + ahead_of_scales);
    }
  }
  for (int r = 0; r < kRows; ++r)
    for (int g = 0; g < kGroups; ++g) store16(total[r][g], y[r] + 16 * g);
}

// Words of a group: the hardware foresees what comes next in long streams side by side, and after short ones only where
// they lie one behind the other.
constexpr int64_t kShortStream = 512;

// n <= kRows rows row(i). Those that are not there are the last one again.
template <class W, bool kPairs, int kRows, class RowFn>
void sum_groups(const Matrix& w, int64_t group, int64_t n_groups, const RowFn& row, int64_t n, float* y) {
  constexpr int kGroups = few_groups<kRows, kFewPairs<W, kPairs>>();
  Row rows[kRows];
  for (int64_t r = 0; r < kRows; ++r) rows[r] = row(std::min(r, n - 1));
  const auto sum = [&]<int kStep>(int64_t g) HWY_ATTR {
    float* to[kRows];
    for (int64_t r = 0; r < kRows; ++r) to[r] = y + (std::min(r, n - 1) * n_groups + g) * 16;
    sum_rows<W, kPairs, kStep, kRows>(w, group + g, rows, to);
  };
  int64_t g = 0;
  if (kRows > 1 || w.words > kShortStream) {
    for (; g + kGroups <= n_groups; g += kGroups) sum.template operator()<kGroups>(g);
  }
  if constexpr (kGroups > 1) {
    for (; g < n_groups; ++g) sum.template operator()<1>(g);
  }
}

// n <= few_rows() rows row(i).
template <class W, bool kPairs, class RowFn>
void sum_few(const Matrix& w, int64_t group, int64_t n_groups, const RowFn& row, int64_t n, float* y) {
  constexpr int kFew = few_rows<W, kPairs>();
  if (n == 1) return sum_groups<W, false, 1>(w, group, n_groups, row, n, y);
  if (n == 2) return sum_groups<W, false, 2>(w, group, n_groups, row, n, y);
  if constexpr (kFew >= 4) {
    if (n <= 4) return sum_groups<W, kPairs, 4>(w, group, n_groups, row, n, y);
  }
  if constexpr (kFew >= 8) sum_groups<W, kPairs, 8>(w, group, n_groups, row, n, y);
}

template <class W>
void lone(const Matrix& w, int64_t group, int64_t n_groups, const Packed* x, int64_t n, float* y) {
  constexpr int64_t kMost = few_rows<W, false>();  // rows that were packed one by one are no pairs
  for (int64_t first = 0; first < n; first += kMost)
    sum_few<W, false>(
        w, group, n_groups, [&](int64_t i) { return row_of(x[first + i], 0); }, std::min(kMost, n - first),
        y + first * 16 * n_groups);
}

template <class W, bool kCareful>
HWY_INLINE void store_unit(const uint32_t* p, const F16& scale, int64_t stride, float* panel) {
  F16 v[W::kUnit];
  decode_unit<W, kCareful>(p, v);
  for (int j = 0; j < W::kUnit; ++j) store16(v[j] * scale, panel + j * stride);
}

// Decodes block `block` of kPackBlock elements of one group, `n` of which exist: panel[k * stride + row], scaled.
template <class W>
HWY_INLINE void decode_panel(const Matrix& w, int64_t group, int64_t block, int64_t n, int64_t stride, float* panel) {
  constexpr int64_t kScales = kPackBlock / W::kScaleBlock;
  const uint32_t* p = w.values + (group * w.words + block * kPackBlock / W::kUnit) * 16;
  for (int64_t at = 0; at < n; at += W::kScaleBlock) {
    const F16 scale = block_scale<W>(w, group, block * kScales + at / W::kScaleBlock);
    for (int64_t k = at; k < std::min<int64_t>(n, at + W::kScaleBlock); k += W::kUnit, p += 16) {
      if (HWY_UNLIKELY(W::rare(p))) {
        store_unit<W, true>(p, scale, stride, panel + k * stride);
      } else {
        store_unit<W, false>(p, scale, stride, panel + k * stride);
      }
    }
  }
}

// Adds block `block` of kPackBlock elements of k, of which `live` exist, to the sums of n rows; row(i) is the number of
// row i.
template <class W, int kGroups, class RowFn>
HWY_INLINE void add_block(const Matrix& w, int64_t group, int64_t block, int64_t live, const Packed& x, int64_t n,
                          const RowFn& row, float* y, int64_t y_stride) {
  HWY_ALIGN float panel[kPackBlock * 16 * kGroups];
  for (int g = 0; g < kGroups; ++g) decode_panel<W>(w, group + g, block, live, 16 * kGroups, panel + 16 * g);
  const auto data = [&](int64_t i)
                        HWY_ATTR { return x.data + ((block - x.begin / kPackBlock) * x.rows + row(i)) * kPackBlock; };
  tile_rows<kGroups>(panel, live, n, data, y, y_stride);
}

#if HWY_TARGET == HWY_AVX3
// The same with products of pairs; does nothing and returns false if a number is not safe.
template <class W, int kGroups, class RowFn>
HWY_INLINE bool add_block_pairs(const Matrix& w, int64_t group, int64_t block, int64_t live, const Packed& x, int64_t n,
                                const RowFn& row, float* y, int64_t y_stride) {
  constexpr int64_t kUnits = kPackBlock / W::kUnit, kScales = kPackBlock / W::kScaleBlock;
  for (int64_t i = 0; i < n; ++i)
    if (x.fragile[(block - x.begin / kPackBlock) * x.rows + row(i)] != 0) return false;
  HWY_ALIGN uint32_t panel[kPackBlock / 2 * 16 * kGroups];
  F16 scales[kScales][kGroups];
  for (int g = 0; g < kGroups; ++g) {
    const uint32_t* p = w.values + ((group + g) * w.words + block * kUnits) * 16;
    if (!decode_pairs<W>(p, (live + W::kUnit - 1) / W::kUnit, 16 * kGroups, panel + 16 * g)) return false;
    for (int64_t s = 0; s * W::kScaleBlock < live; ++s)
      scales[s][g] = block_scale<W>(w, group + g, block * kScales + s);
  }
  const auto pairs = [&](int64_t i) HWY_ATTR {
    return x.pairs + ((block - x.begin / kPackBlock) * x.rows + row(i)) * (kPackBlock / 2);
  };
  for_row_tiles<kGroups, uint32_t>(n, pairs, y, y_stride,
                                   [&]<int kRows>(const uint32_t* const* xs, float* const* ys)
                                       HWY_ATTR { tile_pair_blocks<W, kGroups, kRows>(panel, live, xs, scales, ys); });
  return true;
}

void pack_pairs(const Bf16* x, int64_t stride, int64_t k, const int32_t* index, int64_t rows, int64_t begin,
                int64_t end, uint32_t* pairs) {
  const int64_t blocks = ceil_div(k, kPackBlock);
  uint32_t* fragile = pairs + blocks * rows * (kPackBlock / 2);
  for (int64_t r = begin; r < end; ++r) {
    const int64_t row = index != nullptr ? index[r] : r;
    for (int64_t b = 0; b < blocks; ++b) {
      uint32_t* to = pairs + (b * rows + r) * (kPackBlock / 2);
      const int64_t n = row < 0 ? 0 : std::min(kPackBlock, k - b * kPackBlock);
      if (n < kPackBlock) std::fill_n(to, kPackBlock / 2, 0u);
      if (n > 0) std::memcpy(to, x + row * stride + b * kPackBlock, static_cast<size_t>(n) * sizeof(Bf16));
      for (int64_t i = 0; i < kPackBlock / 2; i += 16)
        _mm512_storeu_si512(to + i, swap_halves(_mm512_loadu_si512(to + i)));
      fragile[b * rows + r] = safe_x(to, kPackBlock / 2) ? 0 : 1;
    }
  }
}

void pack_integers(const float* x, int64_t k, Integers* integers) {
  for (int64_t at = 0; at < k; at += 32, ++integers) {
    if (at + 32 <= k) {
      pack_integers(x + at, *integers);
    } else {
      integers->limbs = 0;  // an incomplete block; the weights end there as well
    }
  }
}

// Several rows become pairs too when kPairs, a lone row integers when kIntegers.
template <bool kPairs, bool kIntegers>
void pack_for_paths(const void* x, int64_t stride, int64_t k, const int32_t* index, int64_t rows, int64_t begin,
                    int64_t end, float* memory) {
  pack<Bf16>(x, stride, k, index, rows, begin, end, memory);
  float* after = memory + ceil_div(k, kPackBlock) * rows * kPackBlock;
  if (rows == 1) {
    if (kIntegers) pack_integers(memory, k, reinterpret_cast<Integers*>(after));
  } else if (kPairs) {
    pack_pairs(static_cast<const Bf16*>(x), stride, k, index, rows, begin, end, reinterpret_cast<uint32_t*>(after));
  }
}
#endif

template <class W, bool kPairs, int kGroups, class RowFn>
HWY_INLINE void add_block_to(const Matrix& w, int64_t group, int64_t block, int64_t live, const Packed& x, int64_t n,
                             const RowFn& row, float* y, int64_t y_stride) {
#if HWY_TARGET == HWY_AVX3
  if constexpr (kPairs) {
    if (add_block_pairs<W, kGroups>(w, group, block, live, x, n, row, y, y_stride)) return;
  }
#endif
  add_block<W, kGroups>(w, group, block, live, x, n, row, y, y_stride);
}

// Many rows of x do not fit in the nearest caches, so all groups use a block of them while it is there. Few rows do
// fit, and then memory is read fastest along the groups.
constexpr int64_t kManyRows = 32;

template <class W, bool kPairs, class RowFn>
HWY_INLINE void add_rows(const Matrix& w, int64_t group, int64_t n_groups, const Packed& x, const RowFn& row, int64_t n,
                         float* y, int64_t stride) {
  const int64_t together = n >= kManyRows ? n_groups : kTileGroups;
  for (int64_t begin = 0; begin < n_groups; begin += together) {
    const int64_t end = std::min(begin + together, n_groups);
    for (int64_t at = 0; at < x.k; at += kPackBlock) {
      const int64_t live = std::min(kPackBlock, x.k - at), block = (x.begin + at) / kPackBlock;
      int64_t g = begin;
      for (; g + kTileGroups <= end; g += kTileGroups) {
        add_block_to<W, kPairs, kTileGroups>(w, group + g, block, live, x, n, row, y + 16 * g, stride);
      }
      for (; g < end; ++g) add_block_to<W, kPairs, 1>(w, group + g, block, live, x, n, row, y + 16 * g, stride);
    }
  }
}

template <class W, bool kPairs>
void add(const Matrix& w, int64_t group, int64_t n_groups, const Packed& x, int64_t n, float* y, int64_t stride) {
  add_rows<W, kPairs>(
      w, group, n_groups, x, [](int64_t i) { return i; }, n, y, stride);
}

template <class W, bool kPairs>
void matrix(const Matrix& w, int64_t group, int64_t n_groups, const Packed& x, const int32_t* index, int64_t first,
            int64_t n, float* y) {
  const auto row = [&](int64_t i) HWY_ATTR { return index != nullptr ? index[i] : first + i; };
  if (n <= few_rows<W, kPairs>()) {
    return sum_few<W, kPairs>(
        w, group, n_groups, [&](int64_t i) { return row_of(x, row(i)); }, n, y);
  }
  std::fill_n(y, n * 16 * n_groups, 0.0f);
  add_rows<W, kPairs>(w, group, n_groups, x, row, n, y, 16 * n_groups);
}

template <class W>
const DotFns* fns_of(bool bf16) {
  constexpr int kFew = few_rows<W, false>();
  static constexpr DotFns kBf16{pack<Bf16>, lone<W>, matrix<W, false>, add<W, false>, kFew},
      kF32{pack<float>, lone<W>, matrix<W, false>, add<W, false>, kFew};
  return bf16 ? &kBf16 : &kF32;
}

#if HWY_TARGET == HWY_AVX3
template <class W, bool kPairs, bool kIntegers>
const DotFns* fns_of_paths() {
  static constexpr DotFns kFns{pack_for_paths<kPairs, kIntegers>,
                               lone<W>,
                               matrix<W, kPairs>,
                               add<W, kPairs>,
                               few_rows<W, kPairs>(),
                               kPairs,
                               kIntegers};
  return &kFns;
}

const DotFns* dot_fns_for(DType weight, bool bf16, const DotPaths& paths) {
  const auto fns = [&]<class W>(W) { return bf16 && paths.pairs ? fns_of_paths<W, true, false>() : fns_of<W>(bf16); };
  switch (weight) {
    case DType::kFp8: return fns(Fp8Weights());
    case DType::kBF16: return fns(Bf16Weights());
    case DType::kFp4:
      if (!bf16 || !paths.integers) return fns(Fp4Weights());
      return paths.pairs ? fns_of_paths<Fp4Weights, true, true>() : fns_of_paths<Fp4Weights, false, true>();
#else
const DotFns* dot_fns_for(DType weight, bool bf16, const DotPaths&) {
  switch (weight) {
    case DType::kFp8: return fns_of<Fp8Weights>(bf16);
    case DType::kBF16: return fns_of<Bf16Weights>(bf16);
    case DType::kFp4: return fns_of<Fp4Weights>(bf16);
#endif
    case DType::kF16: return fns_of<F16Weights>(bf16);
    case DType::kF32: return fns_of<F32Weights>(bf16);
    default: return nullptr;
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace v4rt::simd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace v4rt::simd {

HWY_EXPORT(dot_fns_for);

DotPaths possible_paths() {
  return {pairs_work(), integers_work(), amx().works ? MatrixUnit::kAmx : MatrixUnit::kEmulated};
}

DotPaths vector_paths() { return {pairs_pay(), integers_work()}; }

DotPaths fastest_paths() {
  DotPaths paths = vector_paths();
  if (amx().works) paths.unit = MatrixUnit::kAmx;
  return paths;
}

const DotFns& dot_fns(DType weight, DType activation, const DotPaths& paths) {
  const DotFns* tiles = tile_dot_fns(weight, activation, paths);
  if (tiles != nullptr) return *tiles;
  const DotFns* fns = HWY_DYNAMIC_DISPATCH(dot_fns_for)(weight, activation == DType::kBF16, paths);
  check(fns != nullptr, Code::kInternal, "{} is not a weight type", info(weight).name);
  return *fns;
}

int64_t DotFns::packed_floats(int64_t rows, int64_t k) const {
  if (in_tiles(rows)) return std::max(tile_floats(rows, k), packed_floats(few_rows, k));
  if (rows > 1 && dense_bytes > 0) return ceil_div(rows * k * dense_bytes, 4);
  const int64_t blocks = ceil_div(k, kPackBlock) * rows;
  if (rows > 1) return blocks * (pairs ? kPackBlock + kPackBlock / 2 + 1 : kPackBlock);
  return blocks * kPackBlock +
         (integers ? ceil_div(k, 32) * static_cast<int64_t>(sizeof(Integers) / sizeof(float)) : 0);
}

int64_t DotFns::matrix_floats() const { return most_rows * 16 * kMatrixGroups + work_floats; }

Packed DotFns::packed(const float* memory, int64_t rows, int64_t k) const {
  Packed x{.rows = rows, .k = k};
  if (in_tiles(rows)) {
    x.tiles = reinterpret_cast<const uint32_t*>(memory);
    return x;
  }
  if (rows > 1 && dense_bytes > 0) {
    x.dense = memory;
    return x;
  }
  const int64_t blocks = ceil_div(k, kPackBlock) * rows;
  const float* after = memory + blocks * kPackBlock;
  x.data = memory;
  if (rows > 1 && pairs) {
    x.pairs = reinterpret_cast<const uint32_t*>(after);
    x.fragile = x.pairs + blocks * (kPackBlock / 2);
  }
  if (rows == 1 && integers) x.integers = reinterpret_cast<const Integers*>(after);
  return x;
}

Matrix matrix_of(const Tensor& weight, int64_t index) {
  const TensorType& type = weight.type;
  const DTypeInfo& dtype = info(type.dtype);
  const int64_t n = type.shape[-2], k = type.shape[-1];
  Matrix m{.k = k, .words = ceil_div(dtype.row_bytes(k), 4)};
  m.values = weight.data<const uint32_t>() + index * ceil_div(n, 16) * m.words * 16;
  if (!has_scale_plane(type.dtype)) return m;
  m.blocks = (k + dtype.scale_cols - 1) / dtype.scale_cols;
  const int64_t scale_rows = dtype.scale_rows == 1 ? round_up(n, 16) : ceil_div(n, dtype.scale_rows);
  m.scales = weight.scale_data() + index * scale_rows * m.blocks;
  return m;
}

}  // namespace v4rt::simd
#endif
