#include "backend/cpu/simd/integers.h"

namespace v4rt::simd {

bool integers_work() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vnni") &&
         __builtin_cpu_supports("avx512vbmi");
#else
  return false;
#endif
}

}  // namespace v4rt::simd
