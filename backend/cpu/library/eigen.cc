#include "backend/cpu/library/library_gemm.h"

#ifdef V4RT_HAVE_EIGEN

// g++ 12 warns about the operand that AVX-512 intrinsics leave undefined on purpose (GCC bug 105593).
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#define EIGEN_DONT_PARALLELIZE  // the threads are ours
#include <Eigen/Core>
#include <new>

namespace v4rt {
namespace {

using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

bool multiply(const void* rows, const void* panel, float* sums, const GemmShape& s) noexcept {
  const Eigen::Map<const Matrix> x(static_cast<const float*>(rows), s.m, s.k);
  const Eigen::Map<const Matrix> w(static_cast<const float*>(panel), s.k, s.n);
  Eigen::Map<Matrix> y(sums, s.m, s.n);
  try {
    if (s.add) {
      y.noalias() += x * w;
    } else {
      y.noalias() = x * w;
    }
    return true;
  } catch (const std::bad_alloc&) {  // Eigen copies both matrices
    return false;
  }
}

std::string version() {
  return "Eigen " + std::to_string(EIGEN_WORLD_VERSION) + "." + std::to_string(EIGEN_MAJOR_VERSION) + "." +
         std::to_string(EIGEN_MINOR_VERSION);
}

}  // namespace

const LibraryGemm kEigenGemm{multiply, DType::kF32, version};

}  // namespace v4rt

#else

namespace v4rt {
const LibraryGemm kEigenGemm{};
}  // namespace v4rt

#endif
