#include "backend/cpu/simd/tile_dot.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/simd/tile_dot.cc"
#include <hwy/foreach_target.h>  // IWYU pragma: keep

#include <algorithm>
#include <type_traits>
#include <utility>

#include "backend/cpu/simd/bf16_tiles-inl.h"
#include "backend/cpu/simd/tiles.h"
#include "backend/cpu/simd/weights-inl.h"
#include "ops/core/arith.h"

#ifndef V4RT_BACKEND_CPU_SIMD_TILE_DOT_ONCE
#define V4RT_BACKEND_CPU_SIMD_TILE_DOT_ONCE
namespace v4rt::simd {

// Elements of k whose weights are widened at once: two groups of them stay in the first cache beside the rows that pass
// by. Tiles of sums are read and written once per stage.
constexpr int64_t kStageDepth = 256, kStageBlocks = kStageDepth / kDotBlock;
constexpr int64_t kPanelGroups = 4;  // of sixteen columns, widened together

constexpr int64_t blocks_of(int64_t k) { return ceil_div(k, kDotBlock); }
constexpr int64_t stages_of(int64_t k) { return ceil_div(k, kStageDepth); }
constexpr int64_t tiles_of(int64_t rows) { return ceil_div(rows, kTileRows); }

// Packed rows: the tiles of rows 16 t .. 16 t + 15, block after block, for all t; then for each t and stage a mark,
// nonzero when the unit must not have these numbers.
inline const uint32_t* marks_of(const uint32_t* tiles, int64_t rows, int64_t k) {
  return tiles + tiles_of(rows) * blocks_of(k) * kTileWords;
}

}  // namespace v4rt::simd
#endif

HWY_BEFORE_NAMESPACE();
namespace v4rt::simd {
namespace HWY_NAMESPACE {

// The words at e and at o, sixteen elements of k apart, as rows of a tile.
template <class W, bool kCareful>
HWY_INLINE void widen_words(const uint32_t* e, const uint32_t* o, const F16& scale, uint32_t* to) {
  F16 lower[W::kUnit], upper[W::kUnit];
  decode_unit<W, kCareful>(e, lower);
  decode_unit<W, kCareful>(o, upper);
  for (int j = 0; j < W::kUnit; ++j) {
    store_beside(lower[j] * scale, upper[j] * scale, to + 16 * j);
  }
}

// Whether codes times these scales, of which the smallest code is 2^-9 and the largest 448, are safe.
template <class W>
HWY_INLINE bool scales_are_safe(const Matrix& w, int64_t group, int64_t block) {
  constexpr int kLeast = 127 - 50 + 9, kMost = 127 + 50;
  const bool of_rows = W::kScaleBlock == kDotBlock;
  const uint8_t* scales =
      of_rows ? w.scales + (group * w.blocks + block) * 16 : w.scales + group / 8 * w.blocks + block;
  uint8_t bad = 0;
  for (int i = 0; i < (of_rows ? 16 : 1); ++i) bad |= static_cast<uint8_t>(scales[i] < kLeast || scales[i] > kMost);
  return bad == 0;
}

// What the words at e and at o become, when no code is rare: the lower halves of two words side by side, and the upper
// ones, are pairs of numbers already, whose codes are moved into place and given the exponent of their scale.
#if HWY_TARGET == HWY_AVX3
template <class W>
struct Widener {
  __m512i exponent;  // to add, in each half

  HWY_INLINE Widener(const Matrix& w, int64_t group, int64_t block) {
    if constexpr (std::is_same_v<W, Fp8Weights>) {  // from the bias 7 to the bias 127, and a scale's own bias
      exponent = _mm512_set1_epi16(static_cast<int16_t>((w.scales[group / 8 * w.blocks + block] - 7) * 128));
    } else if constexpr (std::is_same_v<W, Fp4Weights>) {
      const auto* scales = reinterpret_cast<const __m128i*>(w.scales + (group * w.blocks + block) * 16);
      const __m512i rows = _mm512_sub_epi32(_mm512_cvtepu8_epi32(_mm_loadu_si128(scales)), _mm512_set1_epi32(127));
      const __m512i field = _mm512_slli_epi32(rows, 7);
      exponent = _mm512_mask_blend_epi16(0xaaaaaaaau, field, _mm512_slli_epi32(field, 16));
    }
  }

  HWY_INLINE void operator()(const uint32_t* e, const uint32_t* o, uint32_t* to) const {
    const __m512i first = _mm512_loadu_si512(e), second = _mm512_loadu_si512(o);
    half(_mm512_mask_blend_epi16(0xaaaaaaaau, first, _mm512_slli_epi32(second, 16)), to);
    half(_mm512_mask_blend_epi16(0xaaaaaaaau, _mm512_srli_epi32(first, 16), second), to + W::kUnit / 2 * 16);
  }

  // The kUnit / 2 elements that a half of a word holds.
  HWY_INLINE void half(__m512i v, uint32_t* to) const {
    if constexpr (std::is_same_v<W, Fp8Weights>) {
      _mm512_storeu_si512(to, fp8(_mm512_slli_epi16(v, 8)));
      _mm512_storeu_si512(to + 16, fp8(v));
    } else if constexpr (std::is_same_v<W, Fp4Weights>) {
      _mm512_storeu_si512(to, fp4(v));
      _mm512_storeu_si512(to + 16, fp4(_mm512_srli_epi16(v, 4)));
      _mm512_storeu_si512(to + 32, fp4(_mm512_srli_epi16(v, 8)));
      _mm512_storeu_si512(to + 48, fp4(_mm512_srli_epi16(v, 12)));
    } else {
      _mm512_storeu_si512(to, v);
    }
  }
  // Codes in the upper bytes.
  HWY_INLINE __m512i fp8(__m512i v) const {
    const __m512i code = _mm512_and_si512(_mm512_srai_epi16(v, 4), _mm512_set1_epi16(static_cast<int16_t>(0x87f0)));
    return _mm512_add_epi16(code, exponent);
  }
  // Codes in the lowest four bits; the bit above them is another's.
  HWY_INLINE __m512i fp4(__m512i v) const {
    const __m512i table = _mm512_broadcast_i64x4(
        _mm256_setr_epi16(0, 0x3f00, 0x3f80, 0x3fc0, 0x4000, 0x4040, 0x4080, 0x40c0, static_cast<int16_t>(0x8000),
                          static_cast<int16_t>(0xbf00), static_cast<int16_t>(0xbf80), static_cast<int16_t>(0xbfc0),
                          static_cast<int16_t>(0xc000), static_cast<int16_t>(0xc040), static_cast<int16_t>(0xc080),
                          static_cast<int16_t>(0xc0c0)));
    const __m512i value = _mm512_permutexvar_epi16(v, table);
    return _mm512_mask_add_epi16(value, _mm512_test_epi16_mask(v, _mm512_set1_epi16(7)), value, exponent);
  }
};
#else
template <class W>
struct Widener {
  F16 scale;
  HWY_INLINE Widener(const Matrix& w, int64_t group, int64_t block) : scale(block_scale<W>(w, group, block)) {}
  HWY_INLINE void operator()(const uint32_t* e, const uint32_t* o, uint32_t* to) const {
    widen_words<W, false>(e, o, scale, to);
  }
};
#endif

// Elements [begin, end) of one group of weights as tiles; begin is at the start of a scale block. False when some
// weight is not safe.
template <class W>
bool widen_tiles(const Matrix& w, int64_t group, int64_t begin, int64_t end, uint32_t* to) {
  constexpr int64_t kChainWords = kDotChain / W::kUnit;
  alignas(64) static constexpr uint32_t kNothing[16] = {};
  // The next stage of this group is wanted after the panel's other groups; after the last, the next panel's.
  constexpr int64_t kStageWords = kStageDepth / W::kUnit;
  const int64_t far = (kStageWords + (end < w.k ? 0 : (kPanelGroups - 1) * w.words)) * 16;
  const uint32_t* const row = w.values + group * w.words * 16;
  const auto words = [&](int64_t word) {
    __builtin_prefetch(row + word * 16 + far, 0, 2);
    return word < w.words ? row + word * 16 : kNothing;
  };
  for (int64_t at = begin; at < end; at += kDotBlock) {
    if constexpr (!std::is_same_v<W, Bf16Weights>) {
      if (!scales_are_safe<W>(w, group, at / W::kScaleBlock)) return false;
    }
    const Widener<W> widener(w, group, at / W::kScaleBlock);
    for (int64_t i = 0; i < kChainWords; ++i, to += W::kUnit * 16) {
      const uint32_t *e = words(at / W::kUnit + i), *o = words(at / W::kUnit + kChainWords + i);
      if constexpr (std::is_same_v<W, Bf16Weights>) {
        const auto halves = [](const uint32_t* p) { return reinterpret_cast<const uint16_t*>(p); };
        if ((any_unsafe(halves(e), 32, kLeastWeight) | any_unsafe(halves(o), 32, kLeastWeight)) != 0) return false;
      }
      if (HWY_UNLIKELY(W::rare(e) || W::rare(o))) {
        widen_words<W, true>(e, o, block_scale<W>(w, group, at / W::kScaleBlock), to);
      } else {
        widener(e, o, to);
      }
    }
  }
  return true;
}

void pack_tiles(const void* x, int64_t stride, int64_t k, const int32_t* index, int64_t rows, int64_t begin,
                int64_t end, float* memory) {
  auto* tiles = reinterpret_cast<uint32_t*>(memory);
  auto* marks = const_cast<uint32_t*>(marks_of(tiles, rows, k));
  std::fill(marks + begin / kTileRows * stages_of(k), marks + tiles_of(end) * stages_of(k), 0u);
  for (int64_t r = begin; r < tiles_of(end) * kTileRows; ++r) {
    const int64_t row = r >= rows ? -1 : index != nullptr ? index[r] : r, tile = r / kTileRows;
    uint32_t* to = tiles + tile * blocks_of(k) * kTileWords + r % kTileRows * 16;
    for (int64_t at = 0; at < k; at += kDotBlock, to += kTileWords) {
      const int64_t n = row < 0 ? 0 : std::min<int64_t>(kDotBlock, k - at);
      const uint16_t* from = static_cast<const uint16_t*>(x) + row * stride + at;
      uint16_t padded[kDotBlock] = {};
      if (n < kDotBlock) from = std::copy_n(from, n, padded) - n;
      marks[tile * stages_of(k) + at / kStageDepth] |= any_unsafe(from, kDotBlock, kLeastX);
      pack_block(from, to);
    }
  }
}

using WidenTilesFn = bool (*)(const Matrix& w, int64_t group, int64_t begin, int64_t end, uint32_t* to);

WidenTilesFn tile_widener(DType weight) {
  switch (weight) {
    case DType::kFp8: return widen_tiles<Fp8Weights>;
    case DType::kFp4: return widen_tiles<Fp4Weights>;
    case DType::kBF16: return widen_tiles<Bf16Weights>;
    default: return nullptr;
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace v4rt::simd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace v4rt::simd {
namespace {

HWY_EXPORT(pack_tiles);
HWY_EXPORT(tile_widener);

constexpr int64_t kMostRows = 256;                          // of a call: a stage of so many stays in the second cache
constexpr int64_t kStageWords = kStageBlocks * kTileWords;  // of sixteen rows or columns

// fn.operator()<0>(), fn.operator()<1>(), ...
template <int kCount, class Fn>
void repeat(const Fn& fn) {
  [&]<int... i>(std::integer_sequence<int, i...>) { (fn.template operator()<i>(), ...); }
  (std::make_integer_sequence<int, kCount>());
}

// Adds the products of kRows tiles of rows and kColumns groups of weights over `blocks` blocks to their sums y. The
// sums stay in the unit meanwhile; four of them hide the latency of each.
template <int kRows, int kColumns, class Tiles>
void multiply(Tiles& tiles, const uint32_t* x, int64_t x_stride, const uint32_t* w, int64_t blocks, float* y,
              int64_t stride) {
  constexpr int kSums = kRows * kColumns, kX = 4, kW = kX + kRows, kWTiles = std::min(kColumns, 8 - kW);
  static_assert(kSums <= kX);
  const auto sum = [&](int i) { return y + i / kColumns * kTileRows * stride + i % kColumns * 16; };
  repeat<kSums>([&]<int i>() { tiles.template load<i>(sum(i), 4 * stride); });
  for (int64_t at = 0; at < blocks * kTileWords; at += kTileWords) {
    repeat<kRows>([&]<int r>() { tiles.template load<kX + r>(x + r * x_stride + at, 64); });
    repeat<kColumns>([&]<int c>() {
      tiles.template load<kW + c % kWTiles>(w + c * kStageWords + at, 64);
      repeat<kRows>([&]<int r>() { tiles.template add_bf16<r * kColumns + c, kX + r, kW + c % kWTiles>(); });
    });
  }
  repeat<kSums>([&]<int i>() { tiles.template store<i>(sum(i), 4 * stride); });
}

// One stage of one panel of weights and all rows of a call.
struct Stage {
  const uint32_t* x;  // tiles of the first rows
  int64_t x_stride, row_tiles, groups, blocks;
  const uint32_t* panel;
  float* y;
  int64_t stride;
  uint32_t aside;  // bit t: not row tile t

  bool both(int64_t t) const { return t + 1 < row_tiles && (aside >> t & 3u) == 0; }

  template <int kRows, int kColumns, class Tiles>
  void add(Tiles& tiles, int64_t t, int64_t g) const {
    multiply<kRows, kColumns>(tiles, x + t * x_stride, x_stride, panel + g * kStageWords, blocks,
                              y + t * kTileRows * stride + 16 * g, stride);
  }

  template <class Tiles>
  void run(Tiles& tiles) const {
    for (int64_t g = 0; g < groups; g += 2) {  // a pair of groups stays near while the rows pass by
      for (int64_t t = 0; t < row_tiles; t += 2) {
        if (!both(t)) continue;
        groups - g > 1 ? add<2, 2>(tiles, t, g) : add<2, 1>(tiles, t, g);
      }
    }
    for (int64_t t = 0; t < row_tiles; ++t) {
      if (both(t & ~int64_t{1}) || (aside >> t & 1u) != 0) continue;
      if (groups == kPanelGroups) {
        add<1, 4>(tiles, t, 0);
      } else {
        for (int64_t g = 0; g < groups; g += 2) groups - g > 1 ? add<1, 2>(tiles, t, g) : add<1, 1>(tiles, t, g);
      }
    }
  }
};

// Rows of a tile, elements [0, n) of a stage, as they were before pack_block.
void unpack(const uint32_t* tile, int64_t n, uint16_t* rows) {
  for (int64_t at = 0; at < n; at += kDotBlock, tile += kTileWords)
    for (int64_t r = 0; r < kTileRows; ++r)
      for (int64_t i = 0; i < kDotChain; ++i) {
        uint16_t* to = rows + r * kStageDepth + at + i;
        to[0] = static_cast<uint16_t>(tile[r * 16 + i]);
        to[kDotChain] = static_cast<uint16_t>(tile[r * 16 + i] >> 16);
      }
}

template <class Tiles, DType kWeight>
void tile_matrix(const Matrix& w, int64_t group, int64_t n_groups, const Packed& x, const int32_t* index, int64_t first,
                 int64_t n, float* y) {
  static const DotFns& vectors = dot_fns(kWeight, DType::kBF16, vector_paths());
  static const auto widen = HWY_DYNAMIC_DISPATCH(tile_widener)(kWeight);
  if (x.tiles == nullptr) return vectors.matrix(w, group, n_groups, x, index, first, n, y);  // few rows
  auto* panel = reinterpret_cast<uint32_t*>(y + kMostRows * 16 * kMatrixGroups);
  auto* rows = reinterpret_cast<uint16_t*>(panel + kPanelGroups * kStageWords);
  float* packed = reinterpret_cast<float*>(rows + kTileRows * kStageDepth);
  const uint32_t* marks = marks_of(x.tiles, x.rows, w.k) + first / kTileRows * stages_of(w.k);
  const uint32_t* x_tiles = x.tiles + first / kTileRows * blocks_of(w.k) * kTileWords;
  Stage stage{.x = x_tiles,
              .x_stride = blocks_of(w.k) * kTileWords,
              .row_tiles = tiles_of(n),
              .panel = panel,
              .stride = 16 * n_groups};
  const uint32_t all = (1u << stage.row_tiles) - 1;
  // Row tiles that have gone the ordinary way stay there: their sums may have become subnormal.
  uint32_t aside[kMatrixGroups / kPanelGroups] = {};
  std::fill_n(y, stage.row_tiles * kTileRows * stage.stride, 0.0f);
  Tiles tiles(5, static_cast<int>(std::min(n, kTileRows)));  // those of sums and of the first row tile
  // One tile of rows stays near, and memory is read fastest along the groups; more rows pass by all of them.
  const int64_t together = stage.row_tiles > 1 ? n_groups : kPanelGroups;
  for (int64_t i = 0; i < ceil_div(n_groups, together) * stages_of(w.k); ++i) {
    const int64_t begin = i / stages_of(w.k) * together, s = i % stages_of(w.k);
    const int64_t at = s * kStageDepth, end = std::min(at + kStageDepth, w.k);
    stage.x = x_tiles + s * kStageWords;
    stage.blocks = blocks_of(end - at);
    for (int64_t g = begin; g < std::min(begin + together, n_groups); g += kPanelGroups) {
      stage.groups = std::min(kPanelGroups, n_groups - g);
      stage.y = y + 16 * g;
      stage.aside = aside[g / kPanelGroups];
      for (int64_t t = 0; t < stage.row_tiles; ++t)
        if (marks[t * stages_of(w.k) + s] != 0) stage.aside |= 1u << t;
      for (int64_t i = 0; i < stage.groups && stage.aside != all; ++i)
        if (!widen(w, group + g + i, at, end, panel + i * kStageWords)) stage.aside = all;
      stage.run(tiles);
      for (int64_t t = 0; t < stage.row_tiles; ++t) {
        if ((stage.aside >> t & 1u) == 0) continue;
        unpack(stage.x + t * stage.x_stride, end - at, rows);
        vectors.pack(rows, kStageDepth, end - at, nullptr, kTileRows, 0, kTileRows, packed);
        Packed part = vectors.packed(packed, kTileRows, end - at);
        part.begin = at;
        vectors.add(w, group + g, stage.groups, part, kTileRows, stage.y + t * kTileRows * stage.stride, stage.stride);
      }
      aside[g / kPanelGroups] = stage.aside;
    }
  }
}

// Few rows as vectors want them.
template <DType kWeight>
void tile_pack(const void* x, int64_t stride, int64_t k, const int32_t* index, int64_t rows, int64_t begin, int64_t end,
               float* memory) {
  static const DotFns& vectors = dot_fns(kWeight, DType::kBF16, vector_paths());
  static const auto pack = HWY_DYNAMIC_DISPATCH(pack_tiles);
  (rows <= vectors.few_rows ? vectors.pack : pack)(x, stride, k, index, rows, begin, end, memory);
}

template <class Tiles, DType kWeight>
const DotFns* fns() {
  static const DotFns kFns = [] {
    DotFns fns = dot_fns(kWeight, DType::kBF16, vector_paths());
    fns.work_floats =
        kPanelGroups * kStageWords + kTileRows * kStageDepth / 2 + fns.packed_floats(kTileRows, kStageDepth);
    fns.pack = tile_pack<kWeight>;
    fns.matrix = tile_matrix<Tiles, kWeight>;
    fns.row_tile = kTileRows;
    fns.most_rows = kMostRows;
    return fns;
  }();
  return &kFns;
}

template <class Tiles>
const DotFns* fns_for(DType weight) {
  switch (weight) {
    case DType::kFp8: return fns<Tiles, DType::kFp8>();
    case DType::kFp4: return fns<Tiles, DType::kFp4>();
    case DType::kBF16: return fns<Tiles, DType::kBF16>();
    default: return nullptr;
  }
}

}  // namespace

const DotFns* tile_dot_fns(DType weight, DType activation, const DotPaths& paths) {
  if (activation != DType::kBF16 || paths.unit == MatrixUnit::kNone) return nullptr;
  return with_tiles(paths.unit, [&]<class Tiles>() { return fns_for<Tiles>(weight); });
}

int64_t tile_floats(int64_t rows, int64_t k) {
  return tiles_of(rows) * blocks_of(k) * kTileWords + round_up(tiles_of(rows) * stages_of(k), 16);
}

}  // namespace v4rt::simd
#endif
