#include "backend/cpu/simd/library_gemm.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/simd/library_gemm.cc"
#include <hwy/foreach_target.h>  // IWYU pragma: keep

#include <algorithm>
#include <chrono>
#include <cstring>
#include <vector>

#include "backend/cpu/library/onednn.h"
#include "backend/cpu/simd/weights-inl.h"
#include "ops/core/arith.h"

HWY_BEFORE_NAMESPACE();
namespace v4rt::simd {
namespace HWY_NAMESPACE {

// The upper halves: exact for what is a bf16 number.
HWY_INLINE void store_upper_halves(const F16& v, uint16_t* p) {
  for (size_t i = 0; i < kParts; ++i) {
    const auto upper = hn::BitCast(DI(), hn::ShiftRight<16>(hn::BitCast(DU(), v.part[i])));
    hn::StoreU(hn::DemoteTo(DH(), upper), DH(), p + i * kLanes);
  }
}

template <class W, bool kCareful>
HWY_INLINE void widen_unit(const uint32_t* p, const F16& scale, int64_t n, int64_t stride, uint16_t* to) {
  F16 v[W::kUnit];
  decode_unit<W, kCareful>(p, v);
  for (int64_t j = 0; j < n; ++j) store_upper_halves(v[j] * scale, to + j * stride);
}

// Elements [begin, end) of one group: to[(k - begin) * stride + row]. begin is a multiple of a block.
template <class W>
void widen(const Matrix& w, int64_t group, int64_t begin, int64_t end, int64_t stride, uint16_t* to) {
  for (int64_t at = begin; at < end; at += W::kScaleBlock) {
    const F16 scale = block_scale<W>(w, group, at / W::kScaleBlock);
    const int64_t last = std::min<int64_t>(end, at + W::kScaleBlock);
    const uint32_t* p = w.values + (group * w.words + at / W::kUnit) * 16;
    for (int64_t k = at; k < last; k += W::kUnit, p += 16) {
      const int64_t n = std::min<int64_t>(W::kUnit, last - k);
      if (HWY_UNLIKELY(W::rare(p))) {
        widen_unit<W, true>(p, scale, n, stride, to + (k - begin) * stride);
      } else {
        widen_unit<W, false>(p, scale, n, stride, to + (k - begin) * stride);
      }
    }
  }
}

using WidenFn = void (*)(const Matrix& w, int64_t group, int64_t begin, int64_t end, int64_t stride, uint16_t* to);

WidenFn widen_for(DType weight) {
  switch (weight) {
    case DType::kFp8: return widen<Fp8Weights>;
    case DType::kFp4: return widen<Fp4Weights>;
    case DType::kBF16: return widen<Bf16Weights>;
    default: return nullptr;
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace v4rt::simd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace v4rt::simd {
namespace {

HWY_EXPORT(widen_for);

constexpr int64_t kDepth =
    1024;  // of k at once: weights of so many, and of kMatrixGroups groups, stay in the second cache
constexpr int64_t kMostRows = 128;
constexpr int64_t kRowStep = 16;  // rows are padded to a multiple, so that few shapes are compiled
static_assert(kMostRows % kRowStep == 0);

// Where the library fails: slow, and as good.
void multiply_plainly(const uint16_t* a, const uint16_t* b, float* c, int64_t m, int64_t n, int64_t k, bool add) {
  const auto number = [](uint16_t bits) { return em_float(uint32_t{bits} << 16); };
  if (!add) std::fill_n(c, m * n, 0.0f);
  for (int64_t i = 0; i < m; ++i)
    for (int64_t l = 0; l < k; ++l)
      for (int64_t j = 0; j < n; ++j) c[i * n + j] += number(a[i * k + l]) * number(b[l * n + j]);
}

template <DType kWeight>
void library_matrix(const Matrix& w, int64_t group, int64_t n_groups, const Packed& x, const int32_t* index,
                    int64_t first, int64_t n, float* y) {
  if (x.bf16 == nullptr)
    return dot_fns(kWeight, DType::kBF16, vector_paths())
        .matrix(w, group, n_groups, x, index, first, n, y);  // a lone row
  static const auto widen = HWY_DYNAMIC_DISPATCH(widen_for)(kWeight);
  const int64_t columns = 16 * n_groups, padded = round_up(n, kRowStep);
  auto* rows = reinterpret_cast<uint16_t*>(y + kMostRows * 16 * kMatrixGroups);
  uint16_t* weights = rows + kMostRows * kDepth;
  for (int64_t at = 0; at < w.k; at += kDepth) {
    const int64_t live = std::min(kDepth, w.k - at);
    for (int64_t g = 0; g < n_groups; ++g) widen(w, group + g, at, at + live, columns, weights + 16 * g);
    for (int64_t i = 0; i < n; ++i) {
      const int64_t row = index != nullptr ? index[i] : first + i;
      std::memcpy(rows + i * live, x.bf16 + row * w.k + at, static_cast<size_t>(live) * sizeof(uint16_t));
    }
    std::fill_n(rows + n * live, (padded - n) * live, uint16_t{0});
    if (!onednn::multiply(rows, weights, y, padded, columns, live, at > 0)) {
      multiply_plainly(rows, weights, y, padded, columns, live, at > 0);
    }
  }
}

// A lone row as the exact products want it, several as they are.
template <DType kWeight>
void library_pack(const void* x, int64_t stride, int64_t k, const int32_t* index, int64_t rows, int64_t begin,
                  int64_t end, float* memory) {
  if (rows == 1)
    return dot_fns(kWeight, DType::kBF16, vector_paths()).pack(x, stride, k, index, rows, begin, end, memory);
  const auto* from = static_cast<const uint16_t*>(x);
  auto* to = reinterpret_cast<uint16_t*>(memory);
  for (int64_t r = begin; r < end; ++r)
    std::memcpy(to + r * k, from + (index != nullptr ? index[r] : r) * stride,
                static_cast<size_t>(k) * sizeof(uint16_t));
}

template <DType kWeight>
const DotFns* fns() {
  static const DotFns kFns = [] {
    DotFns fns = dot_fns(kWeight, DType::kBF16, vector_paths());
    fns.pack = library_pack<kWeight>;
    fns.matrix = library_matrix<kWeight>;
    fns.pairs = false;
    fns.most_rows = kMostRows;
    fns.bf16 = true;
    fns.work_floats = (kMostRows + 16 * kMatrixGroups) * kDepth / 2;  // of bf16
    return fns;
  }();
  return &kFns;
}

// Seconds for 128 rows times [256, 1024] of FP8, the better of some.
double time_of(const DotFns& fns) {
  constexpr int64_t kRows = kMostRows, kK = 1024, kGroups = kMatrixGroups;
  const std::vector<uint32_t> values(kGroups * kK / 4 * 16, 0x3a3b3c3du);
  const std::vector<uint8_t> scales(kGroups / 8 * kK / 128, 127);
  const std::vector<uint16_t> x(kRows * kK, 0x3f80);
  std::vector<float> memory(static_cast<size_t>(fns.packed_floats(kRows, kK))),
      y(static_cast<size_t>(fns.matrix_floats()));
  const Matrix w{.values = values.data(), .scales = scales.data(), .k = kK, .words = kK / 4, .blocks = kK / 128};
  fns.pack(x.data(), kK, kK, nullptr, kRows, 0, kRows, memory.data());
  const Packed packed = fns.packed(memory.data(), kRows, kK);
  double best = 1e9;
  for (int i = 0; i < 5; ++i) {
    const auto start = std::chrono::steady_clock::now();
    fns.matrix(w, 0, kGroups, packed, nullptr, 0, kRows, y.data());
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return best;
}

}  // namespace

const DotFns* library_dot_fns(DType weight, DType activation) {
  if (!onednn::built_in() || activation != DType::kBF16) return nullptr;
  switch (weight) {
    case DType::kFp8: return fns<DType::kFp8>();
    case DType::kFp4: return fns<DType::kFp4>();
    case DType::kBF16: return fns<DType::kBF16>();
    default: return nullptr;
  }
}

bool library_pays() {
  static const bool pays =
      onednn::built_in() && time_of(*fns<DType::kFp8>()) < time_of(dot_fns(DType::kFp8, DType::kBF16, fastest_paths()));
  return pays;
}

}  // namespace v4rt::simd
#endif
