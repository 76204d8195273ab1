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
  const OpenclMemory a = memory_of(*rows.buffer), b = memory_of(*panel.buffer), c = memory_of(*sums.buffer);
  const size_t rows_at = a.offset / sizeof(float) + rows.at, panel_at = b.offset / sizeof(float) + panel.at,
               sums_at = c.offset / sizeof(float) + sums.at;
  const clblast::StatusCode status =
      s.count == 1
          ? clblast::Gemm(Layout::kRowMajor, Transpose::kNo, Transpose::kNo, s.m, s.n, s.k, 1.0f, a.object, rows_at,
                          rows.stride, b.object, panel_at, panel.stride, 0.0f, c.object, sums_at, sums.stride, &handle)
          : clblast::GemmStridedBatched(Layout::kRowMajor, Transpose::kNo, Transpose::kNo, s.m, s.n, s.k, 1.0f,
                                        a.object, rows_at, rows.stride, rows.next, b.object, panel_at, panel.stride,
                                        panel.next, 0.0f, c.object, sums_at, sums.stride, sums.next, s.count, &handle);
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
