// dot(x, w) of a tile of tokens and a tile of weight rows, for weights in Layout::kRows16.
// Options: W, the weight type (fp4, fp8, bf16, f16, f32), W_BITS its width; TT tokens by GG row groups make a tile.
#ifdef W

// A lane holds the rows of one group: all 16 of a vector, or the one that is this work-item's.
#if VECTOR_LANES
typedef float16 rowf;
typedef uint16 rowu;
#define as_rowf as_float16
#define as_rowu as_uint16
#define LANE_ROW 0
#define GROUPS_ABREAST 1
#define ROWS_PER_LANE 16
EM_FN rowu load_words(__global const uint* p) { return vload16(0, p); }
EM_FN rowu load_scales(__global const uchar* p) { return convert_uint16(vload16(0, p)); }
#else
typedef float rowf;
typedef uint rowu;
#define as_rowf as_float
#define as_rowu as_uint
#define LANE_ROW (LANE % 16)
#define GROUPS_ABREAST (GROUP / 16)
#define ROWS_PER_LANE 1
EM_FN rowu load_words(__global const uint* p) { return *p; }
EM_FN rowu load_scales(__global const uchar* p) { return *p; }
#endif
#define TILE_GROUPS (GG * GROUPS_ABREAST)

#define PER_WORD (32 / W_BITS)
#if W_BITS == 4
#define BLOCK 32
#else
#define BLOCK 128
#endif
#define STAGE 128  // values of x that are converted at once

// Element i of the words, scale excluded.
// E2M1: exponent and mantissa become those of a float in [0.5, 6]; below 1 the value is (f - 0.5) * 2.
EM_FN rowf decode_fp4(rowu word, int i) {
  const rowu code = word >> (uint)(4 * i);
  const rowf f = as_rowf(((code & 7u) << 22u) + 0x3f000000u);
  const rowf magnitude = (code & 6u) == 0u ? fma(f, (rowf)2.0f, (rowf)-1.0f) : f;
  return as_rowf(as_rowu(magnitude) | ((word << (uint)(28 - 4 * i)) & 0x80000000u));
}
// E4M3: rebiased; below 2^-6 the value is (f - 2^-7) * 2.
EM_FN rowf decode_fp8(rowu word, int i) {
  const rowu code = word >> (uint)(8 * i);
  const rowf f = as_rowf(((code & 0x7fu) << 20u) + 0x3c000000u);
  const rowf magnitude = (code & 0x78u) == 0u ? fma(f, (rowf)2.0f, (rowf)-0.015625f) : f;
  return as_rowf(as_rowu(magnitude) | ((word << (uint)(24 - 8 * i)) & 0x80000000u));
}
EM_FN rowf decode_bf16(rowu word, int i) { return as_rowf((word >> (uint)(16 * i)) << 16u); }
// IEEE half: rebiased; subnormals by an exact difference, infinities and NaN keep the largest exponent.
EM_FN rowf decode_f16(rowu word, int i) {
  const rowu code = word >> (uint)(16 * i);
  const rowu shifted = (code & 0x7fffu) << 13u;
  const rowu exponent = code & 0x7c00u;
  const rowf subnormal = as_rowf(shifted + 0x38800000u) - (rowf)6.103515625e-5f;  // 2^-14
  const rowu normal = shifted + (exponent == 0x7c00u ? (rowu)0x70000000u : (rowu)0x38000000u);
  return as_rowf(as_rowu(exponent == 0u ? subnormal : as_rowf(normal)) | ((code & 0x8000u) << 16u));
}
EM_FN rowf decode_f32(rowu word, int i) { return as_rowf(word); }
#define decode CAT(decode_, W)

EM_FN rowf scale_value(rowu b) { return as_rowf(b == 0u ? (rowu)0x00400000u : b << 23u); }

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

// The row group that lane group g of the tile starting at `first` handles; past the end, the last one again.
EM_FN int group_of(const Matrix* m, int first, int g) {
  return min(first + g * GROUPS_ABREAST + LANE / 16, m->groups - 1);
}

// c += the products of elements [k, k + 2) of a block, odd first. `x` holds the tile's tokens, STAGE apart.
EM_FN void add_pair(rowf c[TT][GG], __local const float* x, int k, const rowf odd[GG], const rowf even[GG]) {
  for (int t = 0; t < TT; ++t) {
    const float x_odd = x[t * STAGE + k + 1], x_even = x[t * STAGE + k];
    for (int g = 0; g < GG; ++g) c[t][g] = fma((rowf)x_odd, odd[g], c[t][g]);
    for (int g = 0; g < GG; ++g) c[t][g] = fma((rowf)x_even, even[g], c[t][g]);
  }
}

// c += `len` elements of a block: x [TT], STAGE apart, words at w[g]. Nothing is read past the block's last element.
EM_FN void add_block(rowf c[TT][GG], __local const float* x, __global const uint* const w[GG], int len) {
  int k = 0;
#if PER_WORD == 1
#pragma unroll 1
  for (; k + 2 <= len; k += 2) {
    rowf odd[GG], even[GG];
    for (int g = 0; g < GG; ++g) {
      even[g] = as_rowf(load_words(w[g] + k * 16));
      odd[g] = as_rowf(load_words(w[g] + (k + 1) * 16));
    }
    add_pair(c, x, k, odd, even);
  }
#else
#pragma unroll 1
  for (; k + PER_WORD <= len; k += PER_WORD) {
    rowu bits[GG];
    for (int g = 0; g < GG; ++g) bits[g] = load_words(w[g] + k / PER_WORD * 16);
#pragma unroll
    for (int i = 0; i < PER_WORD; i += 2) {
      rowf odd[GG], even[GG];
      for (int g = 0; g < GG; ++g) {
        even[g] = decode(bits[g], i);
        odd[g] = decode(bits[g], i + 1);
      }
      add_pair(c, x, k + i, odd, even);
    }
  }
#endif
#pragma unroll 1
  for (; k < len; k += 2) {  // the elements of a last word that is not full
    for (int g = 0; g < GG; ++g) {
      const rowu bits = load_words(w[g] + k / PER_WORD * 16);
      if (k + 1 < len) {  // never in the next word: words hold whole pairs, or one element
        const rowf odd = decode(bits, k % PER_WORD + 1);
        for (int t = 0; t < TT; ++t) c[t][g] = fma((rowf)x[t * STAGE + k + 1], odd, c[t][g]);
      }
      const rowf even = decode(bits, k % PER_WORD);
      for (int t = 0; t < TT; ++t) c[t][g] = fma((rowf)x[t * STAGE + k], even, c[t][g]);
    }
  }
}

// total[t][g] = dot(x[x_at[t] .. + k), rows of group_of(first, g)). `stage` is TT * STAGE floats.
EM_FN void dot_tile(rowf total[TT][GG], __global const act_t* x, const size_t x_at[TT], int k_all, const Matrix* m, int first,
                    __local float* stage) {
  __global const uint* w[GG];
  __global const uchar* scales[GG];
  for (int g = 0; g < GG; ++g) {
    const int group = group_of(m, first, g);
    w[g] = m->words_at + (size_t)group * m->words * 16 + LANE_ROW;
#if W_BITS == 4
    scales[g] = m->scales_at + (size_t)group * m->scale_cols * 16 + LANE_ROW;
#elif W_BITS == 8
    scales[g] = m->scales_at + (size_t)(group / 8) * m->scale_cols;
#endif
    for (int t = 0; t < TT; ++t) total[t][g] = (rowf)0.0f;
  }
  for (int k0 = 0; k0 < k_all; k0 += STAGE) {
    const int staged = min(STAGE, k_all - k0);
    SYNC;
    for (int t = 0; t < TT; ++t) {
      for (int i = LANE; i < staged; i += GROUP) stage[t * STAGE + i] = load_act(x, x_at[t] + k0 + i);
    }
    SYNC;
    for (int b = 0; b < staged; b += BLOCK) {
      rowf c[TT][GG];
      for (int t = 0; t < TT; ++t) {
        for (int g = 0; g < GG; ++g) c[t][g] = (rowf)0.0f;
      }
      add_block(c, stage + b, w, min(BLOCK, staged - b));
      for (int g = 0; g < GG; ++g) {
#if W_BITS == 4
        const rowf scale = scale_value(load_scales(scales[g]));
        scales[g] += 16;
        for (int t = 0; t < TT; ++t) total[t][g] = fma(c[t][g], scale, total[t][g]);  // the product is exact
#elif W_BITS == 8
        const rowf scale = scale_value((rowu)(uint)*scales[g]++);
        for (int t = 0; t < TT; ++t) total[t][g] = fma(c[t][g], scale, total[t][g]);
#else
        for (int t = 0; t < TT; ++t) total[t][g] += c[t][g];
#endif
        w[g] += BLOCK / PER_WORD * 16;
      }
    }
  }
}

// Stores the values of row group `group` whose rows lie in [begin, end) at y[row].
#define DEFINE_STORE_ROWS(NAME, TYPE)                                                                  \
  EM_FN void NAME(__global CAT(TYPE, _t)* y, int group, int begin, int end, rowf v) {                  \
    const int row = group * 16 + LANE_ROW;                                                             \
    STORE_ROWS_BODY(TYPE)                                                                              \
  }
#if VECTOR_LANES
#define STORE_ROWS_BODY(TYPE)                                                                          \
  if (row >= begin && row + 16 <= end) {                                                               \
    CAT(store16_, TYPE)(y, row, v);                                                                    \
  } else {                                                                                             \
    float each[16];                                                                                    \
    vstore16(v, 0, each);                                                                              \
    for (int r = max(row, begin); r < min(row + 16, end); ++r) CAT(store_, TYPE)(y, r, each[r - row]); \
  }
#else
#define STORE_ROWS_BODY(TYPE) \
  if (row >= begin && row < end) CAT(store_, TYPE)(y, row, v);
#endif

#endif
