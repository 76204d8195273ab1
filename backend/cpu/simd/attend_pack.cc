#include "backend/cpu/simd/attend_pack.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/simd/attend_pack.cc"
#include <hwy/foreach_target.h>  // IWYU pragma: keep

#include <algorithm>
#include <array>

#include "backend/cpu/simd/bf16_tiles-inl.h"
#include "backend/cpu/simd/integers-inl.h"
#include "backend/cpu/simd/quant.h"
#include "backend/cpu/simd/tile-inl.h"

#ifndef V4RT_BACKEND_CPU_SIMD_ATTEND_PACK_ONCE
#define V4RT_BACKEND_CPU_SIMD_ATTEND_PACK_ONCE
namespace v4rt::simd {

// Of rows, and of what they are multiplied with: as in safe_range.h, but rows hold nothing small, while weights do.
constexpr uint16_t kLeastOfRow = (127 - 32) << 7, kLeastFactor = (127 - 78) << 7;
// Sums of values no smaller than this are multiples of 2^-126, as is what is added to them.
constexpr float kLeastSum = 0x1p-102f;

}  // namespace v4rt::simd
#endif

HWY_BEFORE_NAMESPACE();
namespace v4rt::simd {
namespace HWY_NAMESPACE {

// The words of 32 numbers.
template <PairOrder kOrder>
HWY_INLINE void pack_numbers(const uint16_t* from, uint32_t* to) {
  if constexpr (kOrder == PairOrder::kChains) return pack_block(from, to);
  for (size_t i = 0; i < 16; i += kLanes) {
    const VU pairs = hn::LoadU(DU(), reinterpret_cast<const uint32_t*>(from) + i);
    hn::StoreU(hn::RotateRight<16>(pairs), DU(), to + i);
  }
}

template <PairOrder kOrder>
bool pack_query(const uint16_t* q, int64_t heads, int64_t dim, uint32_t* to) {
  if (any_unsafe(q, heads * dim, kLeastFactor) != 0) return false;
  for (int64_t first = 0; first < heads; first += kAttendUnit)
    for (int64_t at = 0; at < dim; at += kDotBlock, to += kTileWords) {
      HWY_ALIGN uint32_t rows[kTileWords] = {};
      for (int64_t h = first; h < std::min(heads, first + kAttendUnit); ++h)
        pack_numbers<kOrder>(q + h * dim + at, rows + (h - first) * 16);
      transpose(rows, 16, 16, 16, to, 16);
    }
  return true;
}

// A row of n numbers as one row of a tile per block of 32.
template <PairOrder kOrder>
HWY_INLINE bool pack_bf16(const uint8_t* from, int64_t n, uint32_t* to) {
  const auto* x = reinterpret_cast<const uint16_t*>(from);
  for (int64_t at = 0; at < n; at += kDotBlock, to += kTileWords) pack_numbers<kOrder>(x + at, to);
  return any_unsafe(x, n, kLeastOfRow) == 0;
}

#if HWY_TARGET == HWY_AVX3

// Codes in the upper bytes as bf16, whose exponents get `exponent` more, in place.
template <bool kRare>
HWY_INLINE __m512i widen_codes(__m512i v, __m512i exponent) {
  const __m512i normal = _mm512_and_si512(_mm512_srai_epi16(v, 4), _mm512_set1_epi16(static_cast<int16_t>(0x87f0)));
  const __m512i wide = _mm512_add_epi16(normal, _mm512_add_epi16(exponent, _mm512_set1_epi16(120 << 7)));
  if constexpr (!kRare) return wide;
  const __m512i table = _mm512_broadcast_i32x4(
      _mm_setr_epi16(0, 0x3b00, 0x3b80, 0x3bc0, 0x3c00, 0x3c20, 0x3c40, 0x3c60));  // multiples of 2^-9
  const __m512i sign = _mm512_and_si512(v, _mm512_set1_epi16(static_cast<int16_t>(0x8000)));
  const __m512i small =
      _mm512_permutexvar_epi16(_mm512_and_si512(_mm512_srli_epi16(v, 8), _mm512_set1_epi16(7)), table);
  const __m512i scaled =
      _mm512_mask_add_epi16(small, _mm512_test_epi16_mask(v, _mm512_set1_epi16(0x0700)), small, exponent);
  const __mmask32 rare = _mm512_testn_epi16_mask(v, _mm512_set1_epi16(0x7800));
  return _mm512_mask_blend_epi16(rare, wide, _mm512_or_si512(scaled, sign));
}

// 64 codes in the upper bytes of their numbers' places in two blocks; in the lower ones there may be anything.
template <PairOrder kOrder>
HWY_INLINE void place_codes(const uint8_t* codes, __m512i& first, __m512i& second) {
  if constexpr (kOrder == PairOrder::kNext) {
    const auto placed = [&](int half) HWY_ATTR {
      const __m256i bytes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(codes) + half);
      return _mm512_rol_epi32(_mm512_cvtepu8_epi16(bytes), 24);
    };
    first = placed(0);
    second = placed(1);
  } else {
    alignas(64) static constexpr auto kPlaces = [] {
      std::array<uint8_t, 64> places{};
      for (uint8_t i = 0; i < 64; ++i) places[i] = static_cast<uint8_t>(i / 4 + 16 * (i / 2 % 2) + 32 * (i % 2));
      return places;
    }();
    second = look_up(_mm512_load_si512(kPlaces.data()), _mm512_loadu_si512(codes));
    first = _mm512_slli_epi16(second, 8);
  }
}

// 64 codes with one scale are two blocks.
template <PairOrder kOrder>
HWY_INLINE bool pack_codes(const uint8_t* codes, uint8_t scale, uint32_t* to) {
  __m512i first, second;
  place_codes<kOrder>(codes, first, second);
  const __m512i exponent = _mm512_set1_epi16(static_cast<int16_t>((scale - 127) * 128));
  if (HWY_LIKELY(_mm512_testn_epi8_mask(_mm512_loadu_si512(codes), _mm512_set1_epi8(0x78)) == 0)) {
    _mm512_storeu_si512(to, widen_codes<false>(first, exponent));
    _mm512_storeu_si512(to + kTileWords, widen_codes<false>(second, exponent));
  } else {
    _mm512_storeu_si512(to, widen_codes<true>(first, exponent));
    _mm512_storeu_si512(to + kTileWords, widen_codes<true>(second, exponent));
  }
  constexpr int kLeast = (kLeastOfRow >> 7) + 9, kMost = (kMostSafe >> 7) - 9;  // codes: 2^-9 to 448
  return scale >= kLeast && scale <= kMost;
}

template <PairOrder kOrder>
HWY_INLINE bool pack_row(const RowFormat& format, const uint8_t* row, float*, uint32_t* to) {
  if (format.kind == RowFormat::Kind::kBF16) return pack_bf16<kOrder>(row, format.dim, to);
  bool safe = true;
  const uint8_t* scale = row + format.scale_offset();
  for (int64_t at = 0; at < format.codes(); at += 64, to += 2 * kTileWords)
    safe &= pack_codes<kOrder>(row + at, *scale++, to);
  return pack_bf16<kOrder>(row + format.tail_offset(), format.tail, to) && safe;
}

#else

template <PairOrder kOrder>
HWY_INLINE bool pack_row(const RowFormat& format, const uint8_t* row, float* values, uint32_t* to) {
  static_assert(kOrder == PairOrder::kChains);
  if (format.kind == RowFormat::Kind::kBF16) return pack_bf16<kOrder>(row, format.dim, to);
  decode_row(format)(format, row, values);
  uint32_t bad = 0;
  for (int64_t at = 0; at < format.dim; at += kDotBlock, to += kTileWords) {
    store_beside(load16(values + at), load16(values + at + kDotChain), to);
    bad |= any_unsafe(reinterpret_cast<const uint16_t*>(to), kDotBlock, kLeastOfRow);
  }
  return bad == 0;
}

#endif

template <PairOrder kOrder>
bool pack_rows(const RowFormat& format, const AttendTile& tile, float* values, uint32_t* to) {
  const int64_t tiles = format.dim / kDotBlock;
  if (tile.n < kAttendBlock) std::fill_n(to, tile_words(kAttendBlock, format.dim), 0u);
  bool safe = true;
  for (int i = 0; i < tile.n; ++i) {
    const int64_t slot = tile.slots[i];
    safe &= pack_row<kOrder>(format, tile.packed[i], values, to + slot / 16 * tiles * kTileWords + slot % 16 * 16);
  }
  return safe;
}

// 32 columns of 32 rows, sixteen of them `far_rows` words after the others, as two tiles [word][column].
template <PairOrder kOrder>
HWY_INLINE void pair_block(const uint32_t* rows, int64_t far_rows, uint32_t* to);

template <>
HWY_INLINE void pair_block<PairOrder::kChains>(const uint32_t* rows, int64_t far_rows, uint32_t* to) {
  const VU upper = hn::Set(DU(), 0xffff0000u);
  for (int64_t i = 0; i < kTileWords; i += kLanes) {
    const VU first = hn::LoadU(DU(), rows + i), second = hn::LoadU(DU(), rows + far_rows + i);
    hn::StoreU(hn::OrAnd(hn::ShiftLeft<16>(second), first, hn::Not(upper)), DU(), to + i);
    hn::StoreU(hn::OrAnd(hn::ShiftRight<16>(first), second, upper), DU(), to + kTileWords + i);
  }
}

#if HWY_TARGET == HWY_AVX3
template <>
HWY_INLINE void pair_block<PairOrder::kNext>(const uint32_t* rows, int64_t far_rows, uint32_t* to) {
  alignas(64) static constexpr auto kPlaces = [] {  // of columns 0 .. 15 in two rows: those of the second are 32 on
    std::array<uint16_t, 32> places{};
    for (uint16_t i = 0; i < 32; ++i) places[i] = static_cast<uint16_t>((i / 2 ^ 1) + (i % 2 == 0 ? 32 : 0));
    return places;
  }();
  const __m512i lower = _mm512_load_si512(kPlaces.data()), upper = _mm512_add_epi16(lower, _mm512_set1_epi16(16));
  for (int64_t i = 0; i < 16; ++i, to += 16) {
    const uint32_t* row = rows + i / 8 * far_rows + i % 8 * 32;
    const __m512i first = _mm512_loadu_si512(row), second = _mm512_loadu_si512(row + 16);
    _mm512_storeu_si512(to, _mm512_permutex2var_epi16(first, lower, second));
    _mm512_storeu_si512(to + kTileWords, _mm512_permutex2var_epi16(first, upper, second));
  }
}
#endif

template <PairOrder kOrder>
void pair_rows(const uint32_t* from, int64_t dim, int64_t n, uint32_t* to) {
  const int64_t far = dim / kDotBlock * kTileWords;
  for (int64_t half = 0; half < kHalves; ++half, from += 2 * far)
    for (int64_t at = 0; at < n / kDotBlock * kTileWords; at += kTileWords, to += 2 * kTileWords)
      pair_block<kOrder>(from + at, far, to);
}

template <PairOrder kOrder>
bool pack_weights(const float* e, uint32_t* to) {
  const auto of_slot = [&](int64_t slot) HWY_ATTR { return load16(e + slot * kAttendUnit); };
  HWY_ALIGN uint32_t rows[kTileWords];
  uint32_t bad = 0;
  for (int64_t half = 0; half < kHalves; ++half, e += kDotBlock * kAttendUnit, to += kTileWords) {
    for (int64_t i = 0; i < 16; ++i) {
      if constexpr (kOrder == PairOrder::kChains) {
        store_beside(of_slot(i), of_slot(16 + i), rows + i * 16);
      } else {
        store_beside(of_slot(2 * i + 1), of_slot(2 * i), rows + i * 16);
      }
    }
    bad |= any_unsafe(reinterpret_cast<const uint16_t*>(rows), 2 * kTileWords, kLeastFactor);
    transpose(rows, 16, 16, 16, to, 16);
  }
  return bad == 0;
}

bool rescale_sums(float* acc, int64_t stride, int64_t n, const float* rescale) {
  VU least = hn::Set(DU(), ~0u);
  for (int h = 0; h < kAttendUnit; ++h, acc += stride) {
    if (rescale[h] == 1) continue;
    const VF factor = hn::Set(DF(), rescale[h]);
    for (int64_t d = 0; d < n; d += kLanes) {
      const VF sum = hn::Mul(hn::LoadU(DF(), acc + d), factor);
      hn::StoreU(sum, DF(), acc + d);
      const VU magnitude = hn::And(hn::BitCast(DU(), sum), hn::Set(DU(), 0x7fffffffu));
      least = hn::Min(least, hn::Sub(magnitude, hn::Set(DU(), 1u)));  // zero does not count
    }
  }
  return hn::AllTrue(DU(), hn::Eq(hn::Max(least, hn::Set(DU(), em_bits(kLeastSum) - 1)), least));
}

template <PairOrder kOrder>
const AttendPack* pack_of() {
  static constexpr AttendPack kPack{pack_query<kOrder>, pack_rows<kOrder>, pair_rows<kOrder>, pack_weights<kOrder>,
                                    rescale_sums};
  return &kPack;
}

const AttendPack* attend_pack_for(PairOrder order) {
  if (order == PairOrder::kChains) return pack_of<PairOrder::kChains>();
#if HWY_TARGET == HWY_AVX3
  return pack_of<PairOrder::kNext>();
#else
  return nullptr;
#endif
}

}  // namespace HWY_NAMESPACE
}  // namespace v4rt::simd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace v4rt::simd {

HWY_EXPORT(attend_pack_for);

const AttendPack* attend_pack(PairOrder order) { return HWY_DYNAMIC_DISPATCH(attend_pack_for)(order); }

float packed_weight(PairOrder order, const uint32_t* tiles, int slot, int head) {
  const int place = slot % kDotBlock;
  const bool chains = order == PairOrder::kChains, upper = chains ? place >= kDotChain : place % 2 == 0;
  const uint32_t both = tiles[slot / kDotBlock * kTileWords + head * 16 + (chains ? place % kDotChain : place / 2)];
  return em_float(upper ? both & 0xffff0000u : both << 16);
}

}  // namespace v4rt::simd
#endif
