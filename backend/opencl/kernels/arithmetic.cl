// What a device must compute just so, asked of each before it is used (arithmetic.h). This text is OpenCL C and, but
// for its kernel, C++, whose answers are the right ones.

enum {
  kContraction,
  kOrder,
  kFma,
  kDivision,
  kRoot,
  kRint,
  kNan,
  kExp,
  kWeight,
  kSigmoid,
  kSwiglu,
  kSoftplus,
  kScale,
  kKinds
};

EM_FN float arithmetic(int kind, float a, float b, float c) {
  switch (kind) {
    case kContraction: return a * b + c;
    case kOrder: return (a + b) + c;
    case kFma: return em_fma(a, b, c);
    case kDivision: return em_div(a, b);
    case kRoot: return em_sqrt(em_abs(a));
    case kRint: return em_rint(a);
    case kNan: return em_clamp(a, em_abs(b));
    case kExp: return em_exp(a);
    case kWeight: return em_weight(a);
    case kSigmoid: return em_sigmoid(a);
    case kSwiglu: return em_swiglu(a, b, 0.0f);
    case kSoftplus: return em_softplus(a);
    default: return (float)em_fp4_scale(em_magnitude(a));
  }
}

// A loop of n turns, which no compiler can know. Some drivers end one that takes too long for them.
EM_FN em_uint turned(int n) {
  em_uint state = 1u;
  for (int i = 0; i < n; ++i) state = (state ^ (state >> 15)) * 1664525u + 1013904223u;
  return state;
}

#ifdef __OPENCL_VERSION__
DEFINE_DOT64(dot_terms, f32, f32)

// of_kinds[kind * n + i] = arithmetic(kind, operands[i]); of_loop = turned(turns); sum = sum64 of the terms' squares.
// One work-group.
KERNEL void probe_arithmetic(__global const float4* restrict operands, int n, __global float* restrict of_kinds,
                             __global uint* restrict of_loop, int turns, __global const float* restrict terms,
                             int n_terms, __global float* restrict sum) {
  __local float fold[64];
  for (int i = LANE; i < n * kKinds; i += GROUP) {
    const float4 v = operands[i % n];
    of_kinds[i] = arithmetic(i / n, v.x, v.y, v.z);
  }
  const float total = dot_terms(terms, terms, n_terms, fold);
  if (LANE != 0) return;
  *sum = total;
  *of_loop = turned(turns);
}
#endif
