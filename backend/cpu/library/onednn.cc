#include "backend/cpu/library/onednn.h"

#ifdef V4RT_HAVE_ONEDNN

#include <omp.h>

#include <dnnl.hpp>
#include <map>
#include <tuple>

namespace v4rt::onednn {
namespace {

using Memory = dnnl::memory;

// The library runs in an OpenMP region of its own, where a worker of ours is to work alone.
class OneThread {
 public:
  OneThread() : before_(omp_get_max_threads()) { omp_set_num_threads(1); }
  ~OneThread() { omp_set_num_threads(before_); }
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;

 private:
  const int before_;
};

struct Shape {
  int64_t m, n, k;
  bool add;
  bool operator<(const Shape& o) const { return std::tie(m, n, k, add) < std::tie(o.m, o.n, o.k, o.add); }
};

Memory::desc dense(int64_t rows, int64_t columns, Memory::data_type type) {
  return {{rows, columns}, type, Memory::format_tag::ab};
}

// What one thread has compiled.
struct Multiplier {
  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream{engine};
  std::map<Shape, dnnl::matmul> products;

  const dnnl::matmul& product(const Shape& s) {
    const auto found = products.find(s);
    if (found != products.end()) return found->second;
    dnnl::primitive_attr attributes;
    if (s.add) {
      dnnl::post_ops then;
      then.append_sum(1.0f);
      attributes.set_post_ops(then);
    }
    const dnnl::matmul::desc what(dense(s.m, s.k, Memory::data_type::bf16), dense(s.k, s.n, Memory::data_type::bf16),
                                  dense(s.m, s.n, Memory::data_type::f32));
    return products.emplace(s, dnnl::matmul(dnnl::matmul::primitive_desc(what, attributes, engine))).first->second;
  }
};

}  // namespace

bool built_in() { return true; }

bool multiply(const uint16_t* a, const uint16_t* b, float* c, int64_t m, int64_t n, int64_t k, bool add) noexcept {
  try {
    const OneThread alone;
    thread_local Multiplier multiplier;
    const dnnl::engine& engine = multiplier.engine;
    Memory x(dense(m, k, Memory::data_type::bf16), engine, const_cast<uint16_t*>(a));
    Memory w(dense(k, n, Memory::data_type::bf16), engine, const_cast<uint16_t*>(b));
    Memory y(dense(m, n, Memory::data_type::f32), engine, c);
    multiplier.product({m, n, k, add})
        .execute(multiplier.stream, {{DNNL_ARG_SRC, x}, {DNNL_ARG_WEIGHTS, w}, {DNNL_ARG_DST, y}});
    multiplier.stream.wait();
    return true;
  } catch (...) {  // out of memory, or a shape that this version has no code for
    return false;
  }
}

}  // namespace v4rt::onednn

#else

namespace v4rt::onednn {

bool built_in() { return false; }
bool multiply(const uint16_t*, const uint16_t*, float*, int64_t, int64_t, int64_t, bool) noexcept { return false; }

}  // namespace v4rt::onednn

#endif
