#include "backend/cpu/simd/library_gemm.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/simd/library_gemm.cc"
#include <hwy/foreach_target.h>  // IWYU pragma: keep

#include <algorithm>
#include <cstring>

#include "backend/cpu/simd/weights-inl.h"
#include "ops/core/arith.h"

HWY_BEFORE_NAMESPACE();
namespace v4rt::simd {
namespace HWY_NAMESPACE {

// Stores numbers that T holds exactly; for bf16 their upper halves.
HWY_INLINE void store_exact(const F16& v, float* p) { store16(v, p); }
HWY_INLINE void store_exact(const F16& v, Bf16* p) {
  for (size_t i = 0; i < kParts; ++i) {
    const auto upper = hn::BitCast(DI(), hn::ShiftRight<16>(hn::BitCast(DU(), v.part[i])));
    hn::StoreU(hn::DemoteTo(DH(), upper), DH(), &p->bits + i * kLanes);
  }
}

template <class W, bool kCareful, class T>
HWY_INLINE void widen_unit(const uint32_t* p, const F16& scale, int64_t n, int64_t stride, T* to) {
  F16 v[W::kUnit];
  decode_unit<W, kCareful>(p, v);
  for (int64_t j = 0; j < n; ++j) store_exact(v[j] * scale, to + j * stride);
}

// Elements [begin, end) of one group: to[(k - begin) * stride + row]. begin is a multiple of a block.
template <class W, class T>
void widen(const Matrix& w, int64_t group, int64_t begin, int64_t end, int64_t stride, void* panel) {
  auto* to = static_cast<T*>(panel);
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

using WidenFn = void (*)(const Matrix& w, int64_t group, int64_t begin, int64_t end, int64_t stride, void* panel);

WidenFn widen_for(DType weight, DType element) {
  const auto to = [&]<class W>(W) { return element == DType::kBF16 ? widen<W, Bf16> : widen<W, float>; };
  switch (weight) {
    case DType::kFp8: return to(Fp8Weights());
    case DType::kFp4: return to(Fp4Weights());
    case DType::kBF16: return to(Bf16Weights());
    case DType::kF16: return to(F16Weights());
    case DType::kF32: return to(F32Weights());
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

constexpr int64_t kPanelBytes = 512 << 10;  // of kMatrixGroups groups: fits in the second-level cache beside the rows
constexpr int64_t kMostRows = 256;          // Eigen multiplies 256 rows 1.6 times as fast as 128
constexpr int64_t kRowStep = 16;            // rows are padded to a multiple, so that few shapes are compiled
static_assert(kMostRows % kRowStep == 0);

template <class T>
constexpr int64_t depth() {  // of k at once
  return kPanelBytes / (16 * kMatrixGroups * static_cast<int64_t>(sizeof(T)));
}

// For when the library fails: slow, but as good.
template <class T>
void multiply_plainly(const T* rows, const T* panel, float* sums, const GemmShape& s) {
  if (!s.add) std::fill_n(sums, s.m * s.n, 0.0f);
  for (int64_t i = 0; i < s.m; ++i)
    for (int64_t l = 0; l < s.k; ++l)
      for (int64_t j = 0; j < s.n; ++j) sums[i * s.n + j] += load(rows + i * s.k + l) * load(panel + l * s.n + j);
}

template <DType kWeight, DType kActivation>
const DotFns& exact() {
  return dot_fns(kWeight, kActivation, vector_paths());
}

// T: the type that the library multiplies.
template <DType kWeight, DType kActivation, const LibraryGemm& kGemm, class T>
void library_matrix(const Matrix& w, int64_t group, int64_t n_groups, const Packed& x, const int32_t* index,
                    int64_t first, int64_t n, float* y) {
  if (x.dense == nullptr)
    return exact<kWeight, kActivation>().matrix(w, group, n_groups, x, index, first, n, y);  // a lone row
  static const auto widen = HWY_DYNAMIC_DISPATCH(widen_for)(kWeight, kGemm.element);
  const int64_t columns = 16 * n_groups, padded = round_up(n, kRowStep);
  auto* rows = reinterpret_cast<T*>(y + kMostRows * 16 * kMatrixGroups);
  T* panel = rows + kMostRows * depth<T>();
  for (int64_t at = 0; at < w.k; at += depth<T>()) {
    const int64_t live = std::min(depth<T>(), w.k - at);
    for (int64_t g = 0; g < n_groups; ++g) widen(w, group + g, at, at + live, columns, panel + 16 * g);
    for (int64_t i = 0; i < n; ++i) {
      const int64_t row = index != nullptr ? index[i] : first + i;
      std::memcpy(rows + i * live, static_cast<const T*>(x.dense) + row * w.k + at,
                  static_cast<size_t>(live) * sizeof(T));
    }
    std::fill_n(rows + n * live, (padded - n) * live, T{});
    const GemmShape shape{padded, columns, live, at > 0};
    if (!kGemm.multiply(rows, panel, y, shape)) multiply_plainly(rows, panel, y, shape);
  }
}

// A single row in the form of the exact products, several in that of the library. X: type of activations.
template <DType kWeight, DType kActivation, class X, class T>
void library_pack(const void* x, int64_t stride, int64_t k, const int32_t* index, int64_t rows, int64_t begin,
                  int64_t end, float* memory) {
  if (rows == 1) return exact<kWeight, kActivation>().pack(x, stride, k, index, rows, begin, end, memory);
  auto* to = reinterpret_cast<T*>(memory);
  for (int64_t r = begin; r < end; ++r) {
    const X* from = static_cast<const X*>(x) + (index != nullptr ? index[r] : r) * stride;
    if constexpr (std::is_same_v<X, T>) {
      std::copy_n(from, k, to + r * k);
    } else {
      for (int64_t i = 0; i < k; ++i) store(load(from + i), to + r * k + i);
    }
  }
}

template <DType kWeight, DType kActivation, const LibraryGemm& kGemm, class T>
const DotFns* fns() {
  if (!kGemm.built_in()) return nullptr;
  using X = std::conditional_t<kActivation == DType::kBF16, Bf16, float>;
  static const DotFns kFns = [] {
    DotFns fns = exact<kWeight, kActivation>();
    fns.pack = library_pack<kWeight, kActivation, X, T>;
    fns.matrix = library_matrix<kWeight, kActivation, kGemm, T>;
    fns.pairs = false;
    fns.most_rows = kMostRows;
    fns.dense_bytes = sizeof(T);
    fns.work_floats = (kMostRows + 16 * kMatrixGroups) * depth<T>() * static_cast<int64_t>(sizeof(T)) / 4;
    return fns;
  }();
  return &kFns;
}

template <DType kWeight, DType kActivation>
const DotFns* fns_of(Library library) {
  constexpr bool kBf16 =
      kActivation == DType::kBF16 && (kWeight == DType::kFp8 || kWeight == DType::kFp4 || kWeight == DType::kBF16);
  if (library == Library::kEigen) return fns<kWeight, kActivation, kEigenGemm, float>();
  if (library == Library::kOnednn) return fns<kWeight, kActivation, kOnednnGemm, float>();
  if constexpr (kBf16) {
    return fns<kWeight, kActivation, kOnednnBf16Gemm, Bf16>();
  } else {
    return nullptr;
  }
}

template <DType kActivation>
const DotFns* fns_for(DType weight, Library library) {
  switch (weight) {
    case DType::kFp8: return fns_of<DType::kFp8, kActivation>(library);
    case DType::kFp4: return fns_of<DType::kFp4, kActivation>(library);
    case DType::kBF16: return fns_of<DType::kBF16, kActivation>(library);
    case DType::kF16: return fns_of<DType::kF16, kActivation>(library);
    case DType::kF32: return fns_of<DType::kF32, kActivation>(library);
    default: return nullptr;
  }
}

}  // namespace

const DotFns* library_dot_fns(DType weight, DType activation, Library library) {
  return activation == DType::kBF16 ? fns_for<DType::kBF16>(weight, library) : fns_for<DType::kF32>(weight, library);
}

}  // namespace v4rt::simd
#endif
