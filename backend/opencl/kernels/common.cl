// What every kernel shares: lanes, element types, the 64-lane sum. Programs start with exact_math.h, then this text.
//
// A work-group is GROUP work-items, 64 unless a kernel's options say otherwise, that share one row or one tile. With
// VECTOR_LANES a work-group is one work-item, whose lanes are the 16 of a float16; otherwise lanes are work-items.
// Either way the sums have the order of exact_math.h.

#if VECTOR_LANES
#define GROUP 1
#define LANE 0
#define SYNC
#define SYNC_GLOBAL
#define SYNC_ALL
#else
#ifndef GROUP
#define GROUP 64
#endif
#define LANE ((int)get_local_id(0))
#define SYNC barrier(CLK_LOCAL_MEM_FENCE)
#define SYNC_GLOBAL barrier(CLK_GLOBAL_MEM_FENCE)
#define SYNC_ALL barrier(CLK_LOCAL_MEM_FENCE | CLK_GLOBAL_MEM_FENCE)
#endif
#define KERNEL __kernel __attribute__((reqd_work_group_size(GROUP, 1, 1)))

#define CAT_(a, b) a##b
#define CAT(a, b) CAT_(a, b)

// Element types: <name>_t in memory, float in registers.
typedef float f32_t;
typedef ushort bf16_t;
typedef half f16_t;

EM_FN float load_f32(__global const float* p, size_t i) { return p[i]; }
EM_FN float load_bf16(__global const ushort* p, size_t i) { return as_float((uint)p[i] << 16); }
EM_FN float load_f16(__global const half* p, size_t i) { return vload_half(i, p); }
EM_FN float16 load16_f32(__global const float* p, size_t i) { return vload16(0, p + i); }
EM_FN float16 load16_bf16(__global const ushort* p, size_t i) {
  return as_float16(convert_uint16(vload16(0, p + i)) << 16);
}
EM_FN void store_f32(__global float* p, size_t i, float v) { p[i] = v; }
EM_FN void store_bf16(__global ushort* p, size_t i, float v) { p[i] = (ushort)(as_uint(em_bf16(v)) >> 16); }
EM_FN float round_f32(float v) { return v; }
EM_FN float round_bf16(float v) { return em_bf16(v); }
EM_FN float16 round16_f32(float16 v) { return v; }
EM_FN float16 round16_bf16(float16 v) {  // em_bf16 of each
  const uint16 u = as_uint16(v);
  const uint16 rounded = (u + 0x7fffu + ((u >> 16) & 1u)) & 0xffff0000u;
  return as_float16((u & 0x7fffffffu) > EM_INFINITY_BITS ? (u | 0x00400000u) & 0xffff0000u : rounded);
}
EM_FN void store4_f32(__global float* p, size_t i, float4 v) { vstore4(v, 0, p + i); }
EM_FN void store4_bf16(__global ushort* p, size_t i, float4 v) {
  const float4 r = (float4)(em_bf16(v.x), em_bf16(v.y), em_bf16(v.z), em_bf16(v.w));
  vstore4(convert_ushort4(as_uint4(r) >> 16), 0, p + i);
}
EM_FN void store16_f32(__global float* p, size_t i, float16 v) { vstore16(v, 0, p + i); }
EM_FN void store16_bf16(__global ushort* p, size_t i, float16 v) {
  vstore16(convert_ushort16(as_uint16(round16_bf16(v)) >> 16), 0, p + i);
}

#define rounds_f32 0
#define rounds_bf16 1

// The activation type of the program.
#ifdef ACT
typedef CAT(ACT, _t) act_t;
#define load_act CAT(load_, ACT)
#define load16_act CAT(load16_, ACT)
#define store_act CAT(store_, ACT)
#define round_act CAT(round_, ACT)
#define ACT_ROUNDS (CAT(rounds_, ACT))
#endif

// Eight numbers side by side, for work-items.
EM_FN void unpack8(uint4 pairs, float v[8]) {  // of bf16
  const uint each[4] = {pairs.x, pairs.y, pairs.z, pairs.w};
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    v[2 * i] = as_float(each[i] << 16);
    v[2 * i + 1] = as_float(each[i] & 0xffff0000u);
  }
}
EM_FN void read8_bf16(__global const ushort* p, float v[8]) { unpack8(*(__global const uint4*)p, v); }
EM_FN void read8_f32(__global const float* p, float v[8]) {
  vstore4(*(__global const float4*)p, 0, v);
  vstore4(*(__global const float4*)(p + 4), 1, v);
}
#ifdef ACT
// Elements [i, i + 8) of a row of n; past its end 0. `whole`: all are there, and lie where eight are read at once.
EM_FN void load8_act(__global const act_t* x, int i, int n, bool whole, float v[8]) {
  if (whole) {
    CAT(read8_, ACT)(x + i, v);
  } else {
#pragma unroll
    for (int j = 0; j < 8; ++j) v[j] = i + j < n ? load_act(x, i + j) : 0.0f;
  }
}
#endif

// Folds 64 lanes by halves.
#if VECTOR_LANES
EM_FN float fold64(float16 a, float16 b, float16 c, float16 d) {
  const float16 h16 = (a + c) + (b + d);
  const float8 h8 = h16.lo + h16.hi;
  const float4 h4 = h8.lo + h8.hi;
  const float2 h2 = h4.lo + h4.hi;
  return h2.x + h2.y;
}
#else
// Those of the first 64 work-items, for all.
EM_FN float fold64(float lane, __local float* fold) {
  if (LANE < 64) fold[LANE] = lane;
  for (int half_width = 32; half_width > 0; half_width /= 2) {
    SYNC;
    if (LANE < half_width) fold[LANE] += fold[LANE + half_width];
  }
  SYNC;
  const float total = fold[0];
  SYNC;  // fold may be used again
  return total;
}
#endif

// sum64 of a[i] * b[i], products by fma, for every work-item of the group, 64 at least. `fold` is 64 floats.
#if VECTOR_LANES
#define DEFINE_DOT64(NAME, A, B)                                                                                     \
  EM_FN float NAME(__global const CAT(A, _t) * a, __global const CAT(B, _t) * b, int n, __local float* fold) {       \
    float16 c0 = 0.0f, c1 = 0.0f, c2 = 0.0f, c3 = 0.0f;                                                              \
    int i = 0;                                                                                                       \
    for (; i + 64 <= n; i += 64) {                                                                                   \
      c0 = em_fma(CAT(load16_, A)(a, i), CAT(load16_, B)(b, i), c0);                                                 \
      c1 = em_fma(CAT(load16_, A)(a, i + 16), CAT(load16_, B)(b, i + 16), c1);                                       \
      c2 = em_fma(CAT(load16_, A)(a, i + 32), CAT(load16_, B)(b, i + 32), c2);                                       \
      c3 = em_fma(CAT(load16_, A)(a, i + 48), CAT(load16_, B)(b, i + 48), c3);                                       \
    }                                                                                                                \
    if (i < n) {                                                                                                     \
      float lanes[64];                                                                                               \
      vstore16(c0, 0, lanes);                                                                                        \
      vstore16(c1, 1, lanes);                                                                                        \
      vstore16(c2, 2, lanes);                                                                                        \
      vstore16(c3, 3, lanes);                                                                                        \
      for (int l = 0; i + l < n; ++l) lanes[l] = em_fma(CAT(load_, A)(a, i + l), CAT(load_, B)(b, i + l), lanes[l]); \
      c0 = vload16(0, lanes);                                                                                        \
      c1 = vload16(1, lanes);                                                                                        \
      c2 = vload16(2, lanes);                                                                                        \
      c3 = vload16(3, lanes);                                                                                        \
    }                                                                                                                \
    return fold64(c0, c1, c2, c3);                                                                                   \
  }
#else
#define AHEAD 16  // loads of a lane that are on their way at once
#define DEFINE_DOT64(NAME, A, B)                                                                               \
  EM_FN float NAME(__global const CAT(A, _t) * a, __global const CAT(B, _t) * b, int n, __local float* fold) { \
    float lane = 0.0f;                                                                                         \
    int i = LANE < 64 ? LANE : n;                                                                              \
    for (; i + 64 * (AHEAD - 1) < n; i += 64 * AHEAD) {                                                        \
      float as[AHEAD], bs[AHEAD];                                                                              \
      _Pragma("unroll") for (int j = 0; j < AHEAD; ++j) {                                                      \
        as[j] = CAT(load_, A)(a, i + 64 * j);                                                                  \
        bs[j] = CAT(load_, B)(b, i + 64 * j);                                                                  \
      }                                                                                                        \
      _Pragma("unroll") for (int j = 0; j < AHEAD; ++j) lane = em_fma(as[j], bs[j], lane);                     \
    }                                                                                                          \
    for (; i < n; i += 64) lane = em_fma(CAT(load_, A)(a, i), CAT(load_, B)(b, i), lane);                      \
    return fold64(lane, fold);                                                                                 \
  }
#endif

#ifdef ACT
DEFINE_DOT64(dot64_act, ACT, ACT)
#endif

// Elementwise kernels: a work-group handles COLUMNS values of a row; get_group_id(0) is the tile of columns.
#define COLUMNS 1024
#define FOR_COLUMNS(i, n)                                                                                      \
  for (int i = (int)get_group_id(0) * COLUMNS + LANE, end_ = min((int)get_group_id(0) * COLUMNS + COLUMNS, n); \
       i < end_; i += GROUP)
