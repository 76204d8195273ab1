// Cache rows. Options: FORMAT (0 f32, 1 bf16, 2 fp8_tail, 3 fp4), DIM, TAIL, ROW_BYTES (ops/attention/row_format.h).
#ifdef FORMAT

#define CODES (DIM - TAIL)
#if FORMAT == 2
#define SCALE_AT (CODES + 2 * TAIL)
#define SCALE_BLOCK 64
#else
#define SCALE_AT (DIM / 2)
#define SCALE_BLOCK 32
#endif

EM_FN float bytes_bf16(__global const uchar* p) { return as_float(((uint)p[0] << 16) | ((uint)p[1] << 24)); }
EM_FN void put_bf16(__global uchar* p, float v) {
  const uint u = as_uint(em_bf16(em_canonical(v)));
  p[0] = (uchar)(u >> 16);
  p[1] = (uchar)(u >> 24);
}

// Element d of a row.
EM_FN float row_value(__global const uchar* row, int d) {
#if FORMAT == 0
  return ((__global const float*)row)[d];
#elif FORMAT == 1
  return load_bf16((__global const ushort*)row, d);
#elif FORMAT == 2
  if (d >= CODES) return bytes_bf16(row + CODES + 2 * (d - CODES));
  return em_e4m3(row[d]) * em_e8m0(row[SCALE_AT + d / SCALE_BLOCK]);
#else
  return em_e2m1((row[d / 2] >> (4 * (d & 1))) & 15u) * em_e8m0(row[SCALE_AT + d / SCALE_BLOCK]);
#endif
}

// Elements [d, d + 8), d a multiple of 8; past the end 0.
EM_FN void row_values8(__global const uchar* row, int d, float v[8]) {
#if FORMAT == 1 && DIM % 8 == 0
  unpack8(d < DIM ? *(__global const uint4*)(row + 2 * d) : (uint4)0u, v);
#elif FORMAT == 2 && CODES % 8 == 0 && TAIL % 8 == 0 && ROW_BYTES % 8 == 0
  if (d < CODES) {
    const uint2 codes = *(__global const uint2*)(row + d);
    const float scale = em_e8m0(row[SCALE_AT + d / SCALE_BLOCK]);
#pragma unroll
    for (int i = 0; i < 8; ++i) v[i] = em_e4m3(((i < 4 ? codes.x : codes.y) >> (8 * (i % 4))) & 255u) * scale;
  } else {
    __global const uint2* pairs = (__global const uint2*)(row + CODES + 2 * (min(d, DIM - 8) - CODES));
    unpack8(d < DIM ? (uint4)(pairs[0], pairs[1]) : (uint4)0u, v);
  }
#elif FORMAT == 3 && DIM % SCALE_BLOCK == 0 && ROW_BYTES % 4 == 0
  const int at = min(d, DIM - 8);
  const uint codes = *(__global const uint*)(row + at / 2);
  const float scale = d < DIM ? em_e8m0(row[SCALE_AT + at / SCALE_BLOCK]) : 0.0f;
#pragma unroll
  for (int i = 0; i < 8; ++i) v[i] = em_e2m1((codes >> (4 * i)) & 15u) * scale;
#else
#pragma unroll
  for (int i = 0; i < 8; ++i) v[i] = d + i < DIM ? row_value(row, min(d + i, DIM - 1)) : 0.0f;
#endif
}

// The row's DIM values, by one work-item.
EM_FN void decode_row(__global const uchar* row, __local float* values) {
#if FORMAT == 0 || FORMAT == 1
  for (int d = 0; d < DIM; ++d) values[d] = row_value(row, d);
#elif FORMAT == 2
  for (int begin = 0; begin < CODES; begin += SCALE_BLOCK) {
    const float scale = em_e8m0(row[SCALE_AT + begin / SCALE_BLOCK]);
    for (int d = begin; d < min(begin + SCALE_BLOCK, CODES); ++d) values[d] = em_e4m3(row[d]) * scale;
  }
  for (int d = CODES; d < DIM; ++d) values[d] = bytes_bf16(row + CODES + 2 * (d - CODES));
#else
  for (int begin = 0; begin < DIM; begin += SCALE_BLOCK) {
    const float scale = em_e8m0(row[SCALE_AT + begin / SCALE_BLOCK]);
    for (int d = begin; d < min(begin + SCALE_BLOCK, DIM); ++d) {
      values[d] = em_e2m1((row[d / 2] >> (4 * (d & 1))) & 15u) * scale;
    }
  }
#endif
}

#if FORMAT == 2
#define QUANT_SCALE em_fp8_scale
#define QUANT_CODE(v, inverse) em_e4m3_code(em_round_e4m3(em_clamp((v) * (inverse), 448.0f)))
#elif FORMAT == 3
#define QUANT_SCALE em_fp4_scale
#define QUANT_CODE(v, inverse) em_e2m1_code(em_round_e2m1(em_clamp((v) * (inverse), 6.0f)))
#endif

#if FORMAT < 2
EM_FN void put_value(__global uchar* row, int d, float v) {
#if FORMAT == 0
  ((__global float*)row)[d] = em_canonical(v);
#else
  store_bf16((__global ushort*)row, d, em_canonical(v));
#endif
}
#endif

// Writes DIM values as a row; the lanes of a group share the blocks.
EM_FN void encode_row(__local const float* values, __global uchar* row) {
#if FORMAT < 2
  for (int d = LANE; d < DIM; d += GROUP) put_value(row, d, values[d]);
#else
  const int blocks = (CODES + SCALE_BLOCK - 1) / SCALE_BLOCK;
  for (int b = LANE; b < blocks; b += GROUP) {
    const int begin = b * SCALE_BLOCK, end = min(begin + SCALE_BLOCK, CODES);
    uint largest = 0;
    for (int d = begin; d < end; ++d) largest = max(largest, em_magnitude(values[d]));
    const uint scale = QUANT_SCALE(largest);
    const float inverse = em_inverse_scale(scale);
    row[SCALE_AT + b] = (uchar)scale;
#if FORMAT == 2
    for (int d = begin; d < end; ++d) row[d] = (uchar)QUANT_CODE(values[d], inverse);
#else
    for (int d = begin; d < end; d += 2) {
      const uint low = QUANT_CODE(values[d], inverse), high = QUANT_CODE(values[min(d + 1, end - 1)], inverse);
      row[d / 2] = (uchar)(d + 1 < end ? low | high << 4 : low);
    }
#endif
  }
  for (int d = CODES + LANE; d < DIM; d += GROUP) put_bf16(row + CODES + 2 * (d - CODES), values[d]);
  for (int at = SCALE_AT + blocks + LANE; at < ROW_BYTES; at += GROUP) row[at] = 0;
#endif
}

#endif
