#include "backend/cpu/library/library_gemm.h"

#ifdef V4RT_HAVE_ONEDNN

#include <omp.h>

#include <dnnl.hpp>
#include <map>
#include <tuple>

namespace v4rt {
namespace {

using Memory = dnnl::memory;

// The library opens an OpenMP region, in which each of our workers must be alone.
class OneThread {
 public:
  OneThread() : before_(omp_get_max_threads()) { omp_set_num_threads(1); }
  ~OneThread() { omp_set_num_threads(before_); }
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;

 private:
  const int before_;
};

using Key = std::tuple<int64_t, int64_t, int64_t, bool>;

Memory::desc dense(int64_t rows, int64_t columns, Memory::data_type type) {
  return {{rows, columns}, type, Memory::format_tag::ab};
}

// Kernels compiled by one thread.
template <Memory::data_type kElement>
struct Multiplier {
  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream{engine};
  std::map<Key, dnnl::matmul> products;

  const dnnl::matmul& product(const GemmShape& s) {
    const Key key{s.m, s.n, s.k, s.add};
    const auto found = products.find(key);
    if (found != products.end()) return found->second;
    dnnl::primitive_attr attributes;
    if (s.add) {
      dnnl::post_ops then;
      then.append_sum(1.0f);
      attributes.set_post_ops(then);
    }
    const dnnl::matmul::desc what(dense(s.m, s.k, kElement), dense(s.k, s.n, kElement),
                                  dense(s.m, s.n, Memory::data_type::f32));
    return products.emplace(key, dnnl::matmul(dnnl::matmul::primitive_desc(what, attributes, engine))).first->second;
  }
};

template <Memory::data_type kElement>
bool multiply(const void* rows, const void* panel, float* sums, const GemmShape& s) noexcept {
  try {
    const OneThread alone;
    thread_local Multiplier<kElement> multiplier;
    const dnnl::engine& engine = multiplier.engine;
    Memory x(dense(s.m, s.k, kElement), engine, const_cast<void*>(rows));
    Memory w(dense(s.k, s.n, kElement), engine, const_cast<void*>(panel));
    Memory y(dense(s.m, s.n, Memory::data_type::f32), engine, sums);
    multiplier.product(s).execute(multiplier.stream, {{DNNL_ARG_SRC, x}, {DNNL_ARG_WEIGHTS, w}, {DNNL_ARG_DST, y}});
    multiplier.stream.wait();
    return true;
  } catch (...) {  // out of memory, or a shape that this version has no code for
    return false;
  }
}

std::string version() {
  const dnnl_version_t* v = dnnl_version();
  return "oneDNN " + std::to_string(v->major) + "." + std::to_string(v->minor) + "." + std::to_string(v->patch);
}

}  // namespace

const LibraryGemm kOnednnGemm{multiply<Memory::data_type::f32>, DType::kF32, version};
const LibraryGemm kOnednnBf16Gemm{multiply<Memory::data_type::bf16>, DType::kBF16,
                                  [] { return version() + " in bf16"; }};

}  // namespace v4rt

#else

namespace v4rt {
const LibraryGemm kOnednnGemm{}, kOnednnBf16Gemm{};
}  // namespace v4rt

#endif
