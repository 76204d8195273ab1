#include "backend/cpu/simd/dot.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/simd/dot.cc"
#include <hwy/foreach_target.h>  // IWYU pragma: keep

#include <algorithm>
#include <cstring>

#include "backend/cpu/simd/pairs-inl.h"
#include "backend/cpu/simd/pairs.h"
#include "backend/cpu/simd/tile-inl.h"
#include "backend/cpu/simd/weights-inl.h"
#include "ops/core/error.h"

HWY_BEFORE_NAMESPACE();
namespace v4rt::simd {
namespace HWY_NAMESPACE {

template <class T>
void pack(const void* x, int64_t stride, int64_t k, int64_t rows, int64_t begin, int64_t end, float* memory) {
  const T* from = static_cast<const T*>(x);
  for (int64_t r = begin; r < end; ++r) {
    for (int64_t at = 0; at < k; at += kPackBlock) {
      const T* source = from + r * stride + at;
      float* to = memory + at * rows + r * kPackBlock;
      const int64_t n = std::min(kPackBlock, k - at);
      for (int64_t i = 0; i < n; ++i) to[i] = load(source + i);
      for (int64_t i = n; i < kPackBlock; ++i) to[i] = 0;
    }
  }
}

// The scale of block b for the rows of a group, times W::kFactor.
template <class W>
HWY_INLINE F16 block_scale(const Matrix& w, int64_t group, int64_t block) {
  if constexpr (W::kBlock == 32) {
    return scales16(w.scales + (group * w.blocks + block) * 16) * splat(W::kFactor);
  } else {
    const float scale = w.scales == nullptr ? 1.0f : em_e8m0(w.scales[group / 8 * w.blocks + block]);
    return splat(scale * W::kFactor);
  }
}

// One unit of k: odd before even within each pair.
template <class W, bool kCareful, int kGroups, int J = 0>
HWY_INLINE void step(const uint32_t* const (&p)[kGroups], const float* x, F16 (&c)[kGroups]) {
  if constexpr (J < W::kUnit) {
    const F16 odd = splat(x[J + 1]), even = splat(x[J]);
    for (int g = 0; g < kGroups; ++g) c[g] = fma(odd, W::template decode<J + 1, kCareful>(p[g]), c[g]);
    for (int g = 0; g < kGroups; ++g) c[g] = fma(even, W::template decode<J, kCareful>(p[g]), c[g]);
    step<W, kCareful, kGroups, J + 2>(p, x, c);
  }
}

// The sum over one block of n elements; p moves past it.
template <class W, int kGroups>
HWY_INLINE void sum_block(const uint32_t* (&p)[kGroups], const float* x, int64_t n, F16 (&c)[kGroups]) {
  for (int g = 0; g < kGroups; ++g) c[g] = zero();
  int64_t k = 0;
  for (; k + W::kUnit <= n || (W::kUnitWords == 1 && k < n); k += W::kUnit) {
    if constexpr (W::kFetchAhead != 0) {
      for (int g = 0; g < kGroups; ++g) __builtin_prefetch(p[g] + 16 * W::kFetchAhead);
    }
    bool rare = false;
    for (int g = 0; g < kGroups; ++g) rare |= W::rare(p[g]);
    if (HWY_UNLIKELY(rare)) {
      step<W, true, kGroups>(p, x + k, c);
    } else {
      step<W, false, kGroups>(p, x + k, c);
    }
    for (int g = 0; g < kGroups; ++g) p[g] += 16 * W::kUnitWords;
  }
  if (k < n) {  // the last of an odd number of F32 elements
    for (int g = 0; g < kGroups; ++g) c[g] = fma(splat(x[k]), W::template decode<0>(p[g]), c[g]);
  }
}

template <class W, int kGroups>
void vector_groups(const Matrix& w, int64_t group, const float* x, int64_t x_stride, float* y) {
  const uint32_t* p[kGroups];
  F16 total[kGroups];
  for (int g = 0; g < kGroups; ++g) {
    p[g] = w.values + (group + g) * w.words * 16;
    total[g] = zero();
  }
  for (int64_t at = 0, block = 0; at < w.k; at += W::kBlock, ++block) {
    F16 c[kGroups];
    sum_block<W, kGroups>(p, x + at / kPackBlock * x_stride + at % kPackBlock, std::min<int64_t>(W::kBlock, w.k - at), c);
    for (int g = 0; g < kGroups; ++g) total[g] = fma(c[g], block_scale<W>(w, group + g, block), total[g]);
  }
  for (int g = 0; g < kGroups; ++g) store16(total[g], y + 16 * g);
}

template <class W>
void vector(const Matrix& w, int64_t group, int64_t n_groups, const Packed& x, int64_t row, float* y) {
  const float* first = x.data + row * kPackBlock;
  const int64_t stride = x.rows * kPackBlock, end = group + n_groups;
  for (; group + 4 <= end; group += 4, y += 64) vector_groups<W, 4>(w, group, first, stride, y);
  for (; group + 2 <= end; group += 2, y += 32) vector_groups<W, 2>(w, group, first, stride, y);
  for (; group < end; ++group, y += 16) vector_groups<W, 1>(w, group, first, stride, y);
}

template <class W, bool kCareful, int J = 0>
HWY_INLINE void decode_unit(const uint32_t* p, const F16& scale, int64_t stride, float* panel) {
  if constexpr (J < W::kUnit) {
    store16(W::template decode<J, kCareful>(p) * scale, panel + J * stride);
    decode_unit<W, kCareful, J + 1>(p, scale, stride, panel);
  }
}

// Decodes block `block` of kPackBlock elements of one group, `n` of which exist: panel[k * stride + row], scaled.
template <class W>
HWY_INLINE void decode_panel(const Matrix& w, int64_t group, int64_t block, int64_t n, int64_t stride, float* panel) {
  constexpr int64_t kUnits = kPackBlock / W::kUnit, kScales = kPackBlock / W::kBlock;
  const uint32_t* p = w.values + (group * w.words + block * kUnits * W::kUnitWords) * 16;
  for (int64_t at = 0; at < n; at += W::kBlock) {
    const F16 scale = block_scale<W>(w, group, block * kScales + at / W::kBlock);
    const int64_t end = std::min<int64_t>(n, at + W::kBlock);
    int64_t k = at;
    for (; k + W::kUnit <= end || (W::kUnitWords == 1 && k < end); k += W::kUnit, p += 16 * W::kUnitWords) {
      if (HWY_UNLIKELY(W::rare(p))) {
        decode_unit<W, true>(p, scale, stride, panel + k * stride);
      } else {
        decode_unit<W, false>(p, scale, stride, panel + k * stride);
      }
    }
    if (k < end) store16(W::template decode<0>(p) * scale, panel + k * stride);
  }
}

// Adds block `block` of kPackBlock elements of k, `live` of them there, to the sums of n rows; row(i) is the number of row i.
template <class W, int kGroups, class RowFn>
HWY_INLINE void add_block(const Matrix& w, int64_t group, int64_t block, int64_t live, const Packed& x, int64_t n, const RowFn& row,
                          float* y, int64_t y_stride) {
  HWY_ALIGN float panel[kPackBlock * 16 * kGroups];
  for (int g = 0; g < kGroups; ++g) decode_panel<W>(w, group + g, block, live, 16 * kGroups, panel + 16 * g);
  const auto data = [&](int64_t i) HWY_ATTR { return x.data + (block * x.rows + row(i)) * kPackBlock; };
  tile_rows<kGroups, W::kBlock>(panel, live, n, data, y, y_stride);
}

#if HWY_TARGET == HWY_AVX3
// The same by products of pairs; false, and nothing done, when a number is not safe.
template <class W, int kGroups, class RowFn>
HWY_INLINE bool add_block_pairs(const Matrix& w, int64_t group, int64_t block, int64_t live, const Packed& x, int64_t n,
                                const RowFn& row, float* y, int64_t y_stride) {
  constexpr int64_t kUnits = kPackBlock / W::kUnit, kScales = kPackBlock / W::kBlock;
  for (int64_t i = 0; i < n; ++i)
    if (x.fragile[block * x.rows + row(i)] != 0) return false;
  HWY_ALIGN uint32_t panel[kPackBlock / 2 * 16 * kGroups];
  F16 scales[kScales][kGroups];
  for (int g = 0; g < kGroups; ++g) {
    const uint32_t* p = w.values + ((group + g) * w.words + block * kUnits) * 16;
    if (!decode_pairs<W>(p, (live + W::kUnit - 1) / W::kUnit, 16 * kGroups, panel + 16 * g)) return false;
    for (int64_t s = 0; s * W::kBlock < live; ++s) scales[s][g] = block_scale<W>(w, group + g, block * kScales + s);
  }
  const auto pairs = [&](int64_t i) HWY_ATTR { return x.pairs + (block * x.rows + row(i)) * (kPackBlock / 2); };
  for_row_tiles<kGroups, uint32_t>(n, pairs, y, y_stride, [&]<int kRows>(const uint32_t* const* xs, float* const* ys) HWY_ATTR {
    tile_pair_blocks<W, kGroups, kRows>(panel, live, xs, scales, ys);
  });
  return true;
}

void pack_pairs(const void* x, int64_t stride, int64_t k, int64_t rows, int64_t begin, int64_t end, float* memory) {
  pack<Bf16>(x, stride, k, rows, begin, end, memory);
  if (rows == 1) return;
  const int64_t blocks = (k + kPackBlock - 1) / kPackBlock;
  auto* pairs = reinterpret_cast<uint32_t*>(memory + blocks * rows * kPackBlock);
  uint32_t* fragile = pairs + blocks * rows * (kPackBlock / 2);
  const Bf16* from = static_cast<const Bf16*>(x);
  for (int64_t r = begin; r < end; ++r) {
    for (int64_t b = 0; b < blocks; ++b) {
      uint32_t* to = pairs + (b * rows + r) * (kPackBlock / 2);
      const int64_t n = std::min(kPackBlock, k - b * kPackBlock);
      std::fill_n(to, kPackBlock / 2, 0u);
      std::memcpy(to, from + r * stride + b * kPackBlock, static_cast<size_t>(n) * sizeof(Bf16));
      fragile[b * rows + r] = safe_x(to, kPackBlock / 2) ? 0 : 1;
    }
  }
}
#endif

template <class W, bool kPairs, int kGroups>
void matrix_groups(const Matrix& w, int64_t group, const Packed& x, const int32_t* index, int64_t first, int64_t n, float* y,
                   int64_t y_stride) {
  for (int64_t i = 0; i < n; ++i) std::fill_n(y + i * y_stride, 16 * kGroups, 0.0f);
  const auto row = [&](int64_t i) HWY_ATTR { return index != nullptr ? index[i] : first + i; };
  for (int64_t at = 0, block = 0; at < w.k; at += kPackBlock, ++block) {
    const int64_t live = std::min(kPackBlock, w.k - at);
#if HWY_TARGET == HWY_AVX3
    if constexpr (kPairs) {
      if (add_block_pairs<W, kGroups>(w, group, block, live, x, n, row, y, y_stride)) continue;
    }
#endif
    add_block<W, kGroups>(w, group, block, live, x, n, row, y, y_stride);
  }
}

template <class W, bool kPairs>
void matrix(const Matrix& w, int64_t group, int64_t n_groups, const Packed& x, const int32_t* index, int64_t first, int64_t n,
            float* y) {
  if (n == 1) return vector<W>(w, group, n_groups, x, index != nullptr ? index[0] : first, y);
  const int64_t stride = 16 * n_groups;
  int64_t g = 0;
  for (; g + kTileGroups <= n_groups; g += kTileGroups) {
    matrix_groups<W, kPairs, kTileGroups>(w, group + g, x, index, first, n, y + 16 * g, stride);
  }
  for (; g < n_groups; ++g) matrix_groups<W, kPairs, 1>(w, group + g, x, index, first, n, y + 16 * g, stride);
}

template <class W>
const DotFns* fns_of(bool bf16) {
  static constexpr DotFns kBf16{pack<Bf16>, vector<W>, matrix<W, false>}, kF32{pack<float>, vector<W>, matrix<W, false>};
  return bf16 ? &kBf16 : &kF32;
}

template <class W>
const DotFns* pair_fns_of(bool bf16, [[maybe_unused]] bool pairs) {
#if HWY_TARGET == HWY_AVX3
  static constexpr DotFns kPairs{pack_pairs, vector<W>, matrix<W, true>, true};
  if (bf16 && pairs) return &kPairs;
#endif
  return fns_of<W>(bf16);
}

const DotFns* dot_fns_for(DType weight, bool bf16, bool pairs) {
  switch (weight) {
    case DType::kFp8: return pair_fns_of<Fp8Weights>(bf16, pairs);
    case DType::kFp4: return pair_fns_of<Fp4Weights>(bf16, pairs);
    case DType::kBF16: return pair_fns_of<Bf16Weights>(bf16, pairs);
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

const DotFns& dot_fns(DType weight, DType activation, bool pairs) {
  const DotFns* fns = HWY_DYNAMIC_DISPATCH(dot_fns_for)(weight, activation == DType::kBF16, pairs);
  check(fns != nullptr, Code::kInternal, "{} is not a weight type", info(weight).name);
  return *fns;
}

const DotFns& dot_fns(DType weight, DType activation) { return dot_fns(weight, activation, pairs_pay()); }

int64_t DotFns::packed_floats(int64_t rows, int64_t k) const {
  const int64_t blocks = (k + kPackBlock - 1) / kPackBlock;
  return blocks * rows * (pairs && rows > 1 ? kPackBlock + kPackBlock / 2 + 1 : kPackBlock);
}

Packed DotFns::packed(const float* memory, int64_t rows, int64_t k) const {
  Packed x{.data = memory, .rows = rows};
  if (!pairs || rows == 1) return x;
  const int64_t blocks = (k + kPackBlock - 1) / kPackBlock;
  x.pairs = reinterpret_cast<const uint32_t*>(memory + blocks * rows * kPackBlock);
  x.fragile = x.pairs + blocks * rows * (kPackBlock / 2);
  return x;
}

Matrix matrix_of(const Tensor& weight, int64_t index) {
  const TensorType& type = weight.type;
  const DTypeInfo& dtype = info(type.dtype);
  const int64_t n = type.shape[-2], k = type.shape[-1];
  Matrix m{.k = k, .words = (k * dtype.bits + 31) / 32};
  m.values = weight.data<const uint32_t>() + index * ((n + 15) / 16) * m.words * 16;
  if (!is_quantised(type.dtype)) return m;
  m.blocks = (k + dtype.scale_cols - 1) / dtype.scale_cols;
  const int64_t scale_rows = dtype.scale_rows == 1 ? (n + 15) / 16 * 16 : (n + dtype.scale_rows - 1) / dtype.scale_rows;
  m.scales = weight.scale_data() + index * scale_rows * m.blocks;
  return m;
}

}  // namespace v4rt::simd
#endif
