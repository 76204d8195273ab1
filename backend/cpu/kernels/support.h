#pragma once

#include <algorithm>
#include <memory>

#include "backend/cpu/kernels.h"
#include "backend/cpu/simd/library_gemm.h"
#include "ops/core/arith.h"

namespace v4rt {

// Used by most entries of the kernel table.

inline Support any_call(const OpCall&, const CpuDevice&) { return {}; }

inline Support matrix_support(const TensorType& weight) {
  if (weight.layout == Layout::kRows16) return {};
  return Support::no("the weight must be in rows16 layout, not " + to_string(weight));
}

inline int64_t whole_lines(int64_t floats) { return round_up(floats, 16); }  // of caches

// pack(begin, end) for ranges of whole row tiles, if they are in tiles, of `rows` rows of k elements each.
template <class Pack>
void for_row_tiles(ThreadPool& pool, const simd::DotFns& dot, int64_t rows, int64_t k, const Pack& pack) {
  const int64_t tile = dot.in_tiles(rows) ? dot.row_tile : 1;
  pool.for_ranges(ceil_div(rows, tile), static_cast<double>(tile * k) / 4,
                  [&](int64_t begin, int64_t end) { pack(begin * tile, std::min(end * tile, rows)); });
}

// Ops that multiply rows, input 0, with a matrix or a stack of them, input kWeight: exactly, or with
// simd::library_dot_fns.
template <size_t kWeight>
Support exact_support(const OpCall& call, const CpuDevice&) {
  return matrix_support(call.inputs[kWeight]);
}

template <size_t kWeight, simd::Library kLibrary>
Support library_support(const OpCall& call, const CpuDevice&) {
  if (simd::library_dot_fns(call.inputs[kWeight].dtype, call.inputs[0].dtype, kLibrary) == nullptr)
    return Support::no("this build is without it, or its numbers are not of these types");
  if (call.inputs[0].shape[0] == 1) return Support::no("a single token");
  return matrix_support(call.inputs[kWeight]);
}

template <class KernelT, size_t kWeight>
std::unique_ptr<Kernel> make_exact(const OpCall& call, CpuDevice& device) {
  return std::make_unique<KernelT>(
      call, simd::dot_fns(call.inputs[kWeight].dtype, call.inputs[0].dtype, device.paths()), device.threads());
}

template <class KernelT, size_t kWeight, simd::Library kLibrary>
std::unique_ptr<Kernel> make_library(const OpCall& call, CpuDevice& device) {
  return std::make_unique<KernelT>(
      call, *simd::library_dot_fns(call.inputs[kWeight].dtype, call.inputs[0].dtype, kLibrary), device.threads());
}

inline std::string eigen_version() { return kEigenGemm.version(); }
inline std::string onednn_version() { return kOnednnGemm.version(); }
inline std::string onednn_bf16_version() { return kOnednnBf16Gemm.version(); }

template <class KernelT>
std::unique_ptr<Kernel> make_kernel(const OpCall& call, CpuDevice&) {
  return std::make_unique<KernelT>(call);
}

}  // namespace v4rt
