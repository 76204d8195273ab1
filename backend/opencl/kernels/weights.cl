// Weights in Layout::kRows16: how a matrix lies in memory and how its codes become floats.
// Options: W, the weight type (fp4, fp8, bf16, f16, f32); W_BITS its width; SUBNORMALS where the device keeps them.
#ifdef W

// What one work-item decodes at once: the same word of all 16 rows of a group, or of a quarter of them.
#if VECTOR_LANES
#define ROWS_AT_ONCE 16
typedef float16 rowf;
typedef uint16 rowu;
#define as_rowf as_float16
#define as_rowu as_uint16
#define as_rowi as_int16
EM_FN rowu load_words(__global const uint* p) { return vload16(0, p); }
EM_FN rowu load_scales(__global const uchar* p) { return convert_uint16(vload16(0, p)); }
#else
#define ROWS_AT_ONCE 4
typedef float4 rowf;
typedef uint4 rowu;
#define as_rowf as_float4
#define as_rowu as_uint4
#define as_rowi as_int4
EM_FN rowu load_words(__global const uint* p) { return *(__global const uint4*)p; }
EM_FN rowu load_scales(__global const uchar* p) { return convert_uint4(*(__global const uchar4*)p); }
#endif

#define PER_WORD (32 / W_BITS)
#if W_BITS == 4
#define SCALE_BLOCK 32  // values of k that share a scale
#else
#define SCALE_BLOCK 128
#endif
#define BLOCK 32  // values of k that are summed as two chains (exact_math.h)
#define CHAIN 16

// Element i of the words, times FACTOR, without its scale. Exact: the factors are powers of two.
#if SUBNORMALS
// FP8 and FP4 codes are floats with fewer bits, subnormals included: moved to the end of a float's exponent and the
// beginning of its mantissa they are the value but for the difference of the exponents' biases. The sign spreads down
// over bits that are masked.
EM_FN rowu placed(rowu word, int left, int right) { return as_rowu(as_rowi(word << (uint)left) >> right); }
#define FACTOR_fp8 1.0f
EM_FN rowf decode_fp8(rowu word, int i) { return as_rowf(placed(word, 24 - 8 * i, 4) & 0x87f00000u) * (rowf)0x1p120f; }
#define FACTOR_fp4 1.0f
EM_FN rowf decode_fp4_bits(rowu word, int i) {
  return as_rowf(placed(word, 28 - 4 * i, 6) & 0x81c00000u) * (rowf)0x1p126f;
}
#else
// FP8 and FP4 codes become the exponent and mantissa of a float whose exponent starts at a multiple of 4 or 16, so that
// no carry is needed. That is right but for exponent 0, where the value is 2 f - (the smallest normal); elsewhere f is
// the smaller.
EM_FN rowf shorter(rowf f, float smallest_normal) {
  const rowf g = em_fma(f, (rowf)2.0f, (rowf)-smallest_normal);
  return g < f ? g : f;
}
EM_FN rowf with_sign(rowf magnitude, rowu sign) { return as_rowf(as_rowu(magnitude) | (sign & 0x80000000u)); }
#define FACTOR_fp8 0.00390625f
EM_FN rowf decode_fp8(rowu word, int i) {
  const rowu code = 8 * i <= 20 ? word << (uint)((20 - 8 * i) & 31) : word >> (uint)((8 * i - 20) & 31);
  return with_sign(shorter(as_rowf((code & 0x07f00000u) | 0x38000000u), 6.103515625e-5f), word << (uint)(24 - 8 * i));
}
#define FACTOR_fp4 0.25f
EM_FN rowf decode_fp4_bits(rowu word, int i) {
  const rowu code = 4 * i <= 22 ? word << (uint)((22 - 4 * i) & 31) : word >> (uint)((4 * i - 22) & 31);
  return with_sign(shorter(as_rowf((code & 0x01c00000u) | 0x3e000000u), 0.25f), word << (uint)(28 - 4 * i));
}
#endif
#if PERMUTES  // probe.cl: lanes pick from sixteen values in one instruction, by the low four bits of an index each
typedef float floats_of_gcc __attribute__((vector_size(64)));
typedef int ints_of_gcc __attribute__((vector_size(64)));
#define PERMUTE(values, indices) \
  as_float16(                    \
      __builtin_ia32_permvarsf512(__builtin_astype(values, floats_of_gcc), __builtin_astype(indices, ints_of_gcc)))
EM_FN rowf decode_fp4(rowu word, int i) {
  const rowf values = (rowf)FACTOR_fp4 * (rowf)(0.0f, 0.5f, 1.0f, 1.5f, 2.0f, 3.0f, 4.0f, 6.0f, -0.0f, -0.5f, -1.0f,
                                                -1.5f, -2.0f, -3.0f, -4.0f, -6.0f);
  return PERMUTE(values, word >> (uint)(4 * i));
}
#else
EM_FN rowf decode_fp4(rowu word, int i) { return decode_fp4_bits(word, i); }
#endif
#define FACTOR_bf16 1.0f
EM_FN rowf decode_bf16(rowu word, int i) { return as_rowf((word >> (uint)(16 * i)) << 16u); }
// IEEE half: rebiased; subnormals by an exact difference, infinities and NaN keep the largest exponent.
#define FACTOR_f16 1.0f
EM_FN rowf decode_f16(rowu word, int i) {
  const rowu code = word >> (uint)(16 * i);
  const rowu shifted = (code & 0x7fffu) << 13u;
  const rowu exponent = code & 0x7c00u;
  const rowf subnormal = as_rowf(shifted + 0x38800000u) - (rowf)6.103515625e-5f;  // 2^-14
  const rowu normal = shifted + (exponent == 0x7c00u ? (rowu)0x70000000u : (rowu)0x38000000u);
  return as_rowf(as_rowu(exponent == 0u ? subnormal : as_rowf(normal)) | ((code & 0x8000u) << 16u));
}
#define FACTOR_f32 1.0f
EM_FN rowf decode_f32(rowu word, int i) { return as_rowf(word); }
#define decode CAT(decode_, W)
#if HALVES
#define UNFACTOR CAT(HALVES_UNFACTOR_, W)
#define decode_word CAT(decode_word_, W)
#else
#define UNFACTOR (1.0f / CAT(FACTOR_, W))
#define decode_word decode_each
#endif

// The PER_WORD elements of the words, times 1 / UNFACTOR.
EM_FN void decode_each(rowu words, rowf v[PER_WORD]) {
#pragma unroll
  for (int i = 0; i < PER_WORD; ++i) v[i] = decode(words, i);
}

#if HALVES  // probe.cl: whether the device's conversion of halves is to be trusted
// An FP8 or FP4 code is a half with fewer bits, so that a word becomes pairs of halves by shifts and masks, subnormals
// included. The exponents' biases differ by 8 and 14.
#define HALVES_UNFACTOR_bf16 1.0f
#define HALVES_UNFACTOR_f16 1.0f
#define HALVES_UNFACTOR_f32 1.0f
#define decode_word_bf16 decode_each
#define decode_word_f16 decode_each
#define decode_word_f32 decode_each
EM_FN rowf low_halves(rowu pairs) { return vload_half8(0, (const half*)&pairs).even; }
EM_FN rowf high_halves(rowu pairs) { return vload_half8(0, (const half*)&pairs).odd; }
#if W_BITS == 8
#define HALVES_UNFACTOR_fp8 256.0f
EM_FN void decode_word_fp8(rowu words, rowf v[4]) {
  const rowu signs = words & 0x80808080u, magnitudes = (rowu)0x3f803f80u;  // which lie over the other byte's sign
  const rowu even = bitselect(signs << 8, words << 7, magnitudes), odd = bitselect(signs, words >> 1, magnitudes);
  v[0] = low_halves(even);
  v[1] = low_halves(odd);
  v[2] = high_halves(even);
  v[3] = high_halves(odd);
}
#elif W_BITS == 4
#define HALVES_UNFACTOR_fp4 16384.0f
EM_FN void decode_word_fp4(rowu words, rowf v[8]) {
  rowu pairs[4];
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const rowu shifted = words << (uint)(12 - 4 * i);
    pairs[i] = ((shifted >> 3) & 0x0e000e00u) | (shifted & 0x80008000u);
    v[i] = low_halves(pairs[i]);
  }
#pragma unroll
  for (int i = 0; i < 4; ++i) v[i + 4] = high_halves(pairs[i]);
}
#endif
#endif

#if VECTOR_LANES
// Weights that are read once are asked for twice, in the second cache `far` words ahead, since the hardware stops at
// each page, and in the first, which has no room for more: where the compiler has a word for it (probe.cl).
#define FAR 1024
EM_FN void ask_ahead(__global const uint* p, size_t far) {
#if ASK_AHEAD
  __builtin_prefetch((const void*)(size_t)(p + far), 0, 2);
  __builtin_prefetch((const void*)(size_t)(p + max(128, BLOCK / PER_WORD * 16)), 0, 3);
#endif
}
#endif

EM_FN rowf scale_value(rowu b) { return as_rowf(max(b << 23u, (rowu)0x00400000u)); }  // em_e8m0 of each

// One weight matrix: `groups` groups of 16 rows, `words` words and `scale_cols` scales per row.
typedef struct {
  __global const uint* words_at;
  __global const uchar* scales_at;
  int words, scale_cols, groups;
} Matrix;

EM_FN Matrix matrix_at(__global const uint* w, __global const uchar* scales, int index, int rows, int k) {
  Matrix m;
  m.words = (k + PER_WORD - 1) / PER_WORD;
  m.groups = (rows + 15) / 16;
  m.words_at = w + (size_t)index * m.groups * m.words * 16;
#if W_BITS == 4
  m.scale_cols = (k + 31) / 32;
  m.scales_at = scales + (size_t)index * m.groups * 16 * m.scale_cols;
#else
  m.scale_cols = (k + 127) / 128;
  m.scales_at = scales + (size_t)index * ((rows + 127) / 128) * m.scale_cols;
#endif
  return m;
}

// Stores v, the values of rows `row` and on, where they lie in [begin, end), at y[row].
#define DEFINE_STORE_ROWS(NAME, TYPE)                                                  \
  EM_FN void NAME(__global CAT(TYPE, _t) * y, int row, int begin, int end, rowf v) {   \
    if (row >= begin && row + ROWS_AT_ONCE <= end) {                                   \
      CAT(STORE_AT_ONCE, TYPE)(y, row, v);                                             \
    } else {                                                                           \
      float each[ROWS_AT_ONCE];                                                        \
      VSTORE_ROWS(v, 0, each);                                                         \
      UNROLL_ROWS for (int r = 0; r < ROWS_AT_ONCE; ++r) {                             \
        if (row + r >= begin && row + r < end) CAT(store_, TYPE)(y, row + r, each[r]); \
      }                                                                                \
    }                                                                                  \
  }
#if VECTOR_LANES
#define VSTORE_ROWS vstore16
#define UNROLL_ROWS _Pragma("unroll 1")  // rare, and there would be many of them
#define STORE_AT_ONCE store16_
#else
#define VSTORE_ROWS vstore4
#define UNROLL_ROWS _Pragma("unroll")  // so that `each` is in registers
#define STORE_AT_ONCE store4_
#endif

#endif
