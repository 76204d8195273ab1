#pragma once

#include <cstddef>
#include <string>

namespace v4rt {

class OpenclQueue;
class Buffer;

namespace clblast_gemm {

bool built_in();
std::string version();  // "CLBlast 1.5.3"

// A dense matrix of f32 in a buffer: where it begins, and how far it is from row to row and, of several, from one to
// the next, in elements.
struct Dense {
  const Buffer* buffer;
  size_t at, stride, next = 0;
};

struct Shape {
  size_t m, n, k, count = 1;  // `count` products
};

// As LibraryGemm of backend/cpu/library does: sums [m, n] = rows [m, k] * panel [k, n], enqueued. Throws Error(kDevice)
// with CLBlast's status.
void multiply(OpenclQueue& queue, const Dense& rows, const Dense& panel, const Dense& sums, const Shape& shape);

}  // namespace clblast_gemm
}  // namespace v4rt
