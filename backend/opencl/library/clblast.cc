#include "backend/opencl/library/clblast.h"

#include "ops/core/error.h"

#ifdef V4RT_HAVE_CLBLAST

#include <clblast.h>

#include "backend/opencl/opencl_buffer.h"
#include "backend/opencl/opencl_queue.h"

namespace v4rt::clblast_gemm {

bool built_in() { return true; }

std::string version() {
  return fmt::format("CLBlast {}.{}.{}", CLBLAST_VERSION_MAJOR, CLBLAST_VERSION_MINOR, CLBLAST_VERSION_PATCH);
}

void multiply(OpenclQueue& queue, const Dense& rows, const Dense& panel, const Dense& sums, const Shape& s) {
  using clblast::Layout, clblast::Transpose;
  cl_command_queue handle = queue.handle();
  const cl_mem a = memory_of(*rows.buffer), b = memory_of(*panel.buffer), c = memory_of(*sums.buffer);
  const clblast::StatusCode status =
      s.count == 1
          ? clblast::Gemm(Layout::kRowMajor, Transpose::kNo, Transpose::kNo, s.m, s.n, s.k, 1.0f, a, rows.at,
                          rows.stride, b, panel.at, panel.stride, 0.0f, c, sums.at, sums.stride, &handle)
          : clblast::GemmStridedBatched(Layout::kRowMajor, Transpose::kNo, Transpose::kNo, s.m, s.n, s.k, 1.0f, a,
                                        rows.at, rows.stride, rows.next, b, panel.at, panel.stride, panel.next, 0.0f, c,
                                        sums.at, sums.stride, sums.next, s.count, &handle);
  check(status == clblast::StatusCode::kSuccess, Code::kDevice, "CLBlast, {} x {} x {}, {} times: status {}", s.m, s.n,
        s.k, s.count, static_cast<int>(status));
}

}  // namespace v4rt::clblast_gemm

#else

namespace v4rt::clblast_gemm {

bool built_in() { return false; }
std::string version() { return {}; }
void multiply(OpenclQueue&, const Dense&, const Dense&, const Dense&, const Shape&) {
  fail(Code::kInternal, "this build has no CLBlast");
}

}  // namespace v4rt::clblast_gemm

#endif
