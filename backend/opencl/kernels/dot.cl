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
#define STAGE 128  // values of k that are worked off at once

// With vector lanes and many tokens the weights of a stage are decoded once, into a panel, and used by SUB tokens at a
// time.
#if VECTOR_LANES && TT > 1
#define PANEL 1
#define SUB 8
#define STAGE_FLOATS (SUB * STAGE + STAGE * GG * 16)
#else
#define PANEL 0
#define SUB TT
#define STAGE_FLOATS (TT * STAGE)
#endif

// Element i of the words, times FACTOR, without its scale. Exact: the factors are powers of two.
// FP8 and FP4 codes become the exponent and mantissa of a float whose exponent starts at a multiple of 4 or 16, so that
// no carry is needed. That is right but for exponent 0, where the value is 2 f - (the smallest normal); elsewhere f is
// the smaller.
EM_FN rowf shorter(rowf f, float smallest_normal) {
  const rowf g = fma(f, (rowf)2.0f, (rowf)-smallest_normal);
  return g < f ? g : f;
}
EM_FN rowf with_sign(rowf magnitude, rowu sign) { return as_rowf(as_rowu(magnitude) | (sign & 0x80000000u)); }
#define FACTOR_fp4 0.25f
EM_FN rowf decode_fp4(rowu word, int i) {
  const rowu code = 4 * i <= 22 ? word << (uint)((22 - 4 * i) & 31) : word >> (uint)((4 * i - 22) & 31);
  return with_sign(shorter(as_rowf((code & 0x01c00000u) | 0x3e000000u), 0.25f), word << (uint)(28 - 4 * i));
}
#define FACTOR_fp8 0.00390625f
EM_FN rowf decode_fp8(rowu word, int i) {
  const rowu code = 8 * i <= 20 ? word << (uint)((20 - 8 * i) & 31) : word >> (uint)((8 * i - 20) & 31);
  return with_sign(shorter(as_rowf((code & 0x07f00000u) | 0x38000000u), 6.103515625e-5f), word << (uint)(24 - 8 * i));
}
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
#define UNFACTOR (1.0f / CAT(FACTOR_, W))

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

// Where the tile's weights are read: per lane group the words and the scales of block 0.
typedef struct {
  __global const uint* words[GG];
  __global const uchar* scales[GG];
} Rows;

EM_FN Rows rows_at(const Matrix* m, int first) {
  Rows rows;
#pragma unroll
  for (int g = 0; g < GG; ++g) {
    const int group = group_of(m, first, g);
    rows.words[g] = m->words_at + (size_t)group * m->words * 16 + LANE_ROW;
#if W_BITS == 4
    rows.scales[g] = m->scales_at + (size_t)group * m->scale_cols * 16 + LANE_ROW;
#else
    rows.scales[g] = m->scales_at + (size_t)(group / 8) * m->scale_cols;
#endif
  }
  return rows;
}

// The scale of block `block` of lane group g.
EM_FN rowf block_scale(const Rows* rows, int g, int block) {
#if W_BITS == 4
  return scale_value(load_scales(rows->scales[g] + block * 16));
#elif W_BITS == 8
  return scale_value((rowu)(uint)rows->scales[g][block]);
#else
  return (rowf)1.0f;
#endif
}

// c += the products of elements k and k + 1, odd first. `x` holds SUB tokens, STAGE apart.
EM_FN void add_pair(rowf c[SUB][GG], __local const float* x, int k, const rowf odd[GG], const rowf even[GG]) {
#pragma unroll
  for (int t = 0; t < SUB; ++t) {
    const float x_odd = x[t * STAGE + k + 1], x_even = x[t * STAGE + k];
#pragma unroll
    for (int g = 0; g < GG; ++g) c[t][g] = fma((rowf)x_odd, odd[g], c[t][g]);
#pragma unroll
    for (int g = 0; g < GG; ++g) c[t][g] = fma((rowf)x_even, even[g], c[t][g]);
  }
}

// c += the products of element k alone.
EM_FN void add_single(rowf c[SUB][GG], __local const float* x, int k, const rowf even[GG]) {
#pragma unroll
  for (int t = 0; t < SUB; ++t) {
#pragma unroll
    for (int g = 0; g < GG; ++g) c[t][g] = fma((rowf)x[t * STAGE + k], even[g], c[t][g]);
  }
}

// Values [k0, k0 + n) of the SUB tokens that start at x_at[0] as floats, STAGE apart.
EM_FN void stage_tokens(__global const act_t* x, const size_t* x_at, int k0, int n, __local float* stage) {
  SYNC;
  for (int t = 0; t < SUB; ++t) {
    for (int i = LANE; i < n; i += GROUP) stage[t * STAGE + i] = load_act(x, x_at[t] + k0 + i);
  }
  SYNC;
}

#if PANEL

// Elements [0, n) of a stage that starts at element k0 of the rows: panel[k][g] holds 16 weights, scale included.
EM_FN void decode_panel(const Rows* rows, int k0, int n, __local float* panel) {
  for (int b = 0; b < n; b += BLOCK) {
    rowf scale[GG];
#pragma unroll
    for (int g = 0; g < GG; ++g) scale[g] = block_scale(rows, g, (k0 + b) / BLOCK);
    const int end = min(b + BLOCK, n);
#pragma unroll 1
    for (int k = b; k < end; k += PER_WORD) {  // the tail of a last word is zero and is not used
#pragma unroll
      for (int g = 0; g < GG; ++g) {
        const rowu bits = load_words(rows->words[g] + (size_t)((k0 + k) / PER_WORD) * 16);
#pragma unroll
        for (int i = 0; i < PER_WORD; ++i) {
#if W_BITS <= 8
          const rowf value = decode(bits, i) * UNFACTOR * scale[g];
#else
          const rowf value = decode(bits, i);
#endif
          vstore16(value, (k + i) * GG + g, panel);
        }
      }
    }
  }
}

// c += elements [0, n) of a block.
EM_FN void add_block(rowf c[SUB][GG], __local const float* x, __local const float* panel, int n) {
  int k = 0;
  rowf odd[GG], even[GG];
#pragma unroll 2
  for (; k + 2 <= n; k += 2) {
#pragma unroll
    for (int g = 0; g < GG; ++g) {
      even[g] = vload16(k * GG + g, panel);
      odd[g] = vload16((k + 1) * GG + g, panel);
    }
    add_pair(c, x, k, odd, even);
  }
  if (k < n) {
#pragma unroll
    for (int g = 0; g < GG; ++g) even[g] = vload16(k * GG + g, panel);
    add_single(c, x, k, even);
  }
}

// total[t][g] = dot(x[x_at[t] .. + k), rows of group_of(first, g)) for t < live. `stage` is STAGE_FLOATS floats.
EM_FN void dot_tile(rowf total[TT][GG], __global const act_t* x, const size_t x_at[TT], int live, int k_all,
                    const Matrix* m, int first, __local float* stage) {
  __local float* panel = stage + SUB * STAGE;
  const Rows rows = rows_at(m, first);
  for (int t = 0; t < TT; ++t) {
    for (int g = 0; g < GG; ++g) total[t][g] = (rowf)0.0f;
  }
  for (int k0 = 0; k0 < k_all; k0 += STAGE) {
    const int n = min(STAGE, k_all - k0);
    decode_panel(&rows, k0, n, panel);
    for (int t0 = 0; t0 < live; t0 += SUB) {
      stage_tokens(x, x_at + t0, k0, n, stage);
      for (int b = 0; b < n; b += BLOCK) {
        rowf c[SUB][GG];
#pragma unroll
        for (int i = 0; i < SUB * GG; ++i) c[i / GG][i % GG] = (rowf)0.0f;
        add_block(c, stage + b, panel + b * GG * 16, min(BLOCK, n - b));
#pragma unroll
        for (int i = 0; i < SUB * GG; ++i) total[t0 + i / GG][i % GG] += c[i / GG][i % GG];
      }
    }
  }
}

#else

// c += elements [0, n) of a block whose words start at w[g]. Nothing is read past the row's last word.
EM_FN void add_block(rowf c[TT][GG], __local const float* x, __global const uint* const w[GG], int n) {
  int k = 0;
  rowf odd[GG], even[GG];
#if PER_WORD == 1
#pragma unroll 1
  for (; k + 2 <= n; k += 2) {
#pragma unroll
    for (int g = 0; g < GG; ++g) {
      even[g] = as_rowf(load_words(w[g] + k * 16));
      odd[g] = as_rowf(load_words(w[g] + (k + 1) * 16));
    }
    add_pair(c, x, k, odd, even);
  }
#else
#pragma unroll 1
  for (; k + PER_WORD <= n; k += PER_WORD) {
    rowu bits[GG];
#pragma unroll
    for (int g = 0; g < GG; ++g) bits[g] = load_words(w[g] + k / PER_WORD * 16);
#pragma unroll
    for (int i = 0; i < PER_WORD; i += 2) {
#pragma unroll
      for (int g = 0; g < GG; ++g) {
        even[g] = decode(bits[g], i);
        odd[g] = decode(bits[g], i + 1);
      }
      add_pair(c, x, k + i, odd, even);
    }
  }
#endif
#pragma unroll 1
  for (; k < n; k += 2) {  // a last word that is not full; pairs lie within words, or the last element is alone
    const int i = k % PER_WORD;
#pragma unroll
    for (int g = 0; g < GG; ++g) {
      const rowu bits = load_words(w[g] + k / PER_WORD * 16);
      even[g] = decode(bits, i);
      odd[g] = decode(bits, i + 1 < PER_WORD ? i + 1 : i);
    }
    if (k + 1 < n) {
      add_pair(c, x, k, odd, even);
    } else {
      add_single(c, x, k, even);
    }
  }
}

// total[t][g] = dot(x[x_at[t] .. + k), rows of group_of(first, g)). `stage` is STAGE_FLOATS floats.
EM_FN void dot_tile(rowf total[TT][GG], __global const act_t* x, const size_t x_at[TT], int live, int k_all,
                    const Matrix* m, int first, __local float* stage) {
  const Rows rows = rows_at(m, first);
#pragma unroll
  for (int i = 0; i < TT * GG; ++i) total[i / GG][i % GG] = (rowf)0.0f;
  for (int k0 = 0; k0 < k_all; k0 += STAGE) {
    const int n = min(STAGE, k_all - k0);
    stage_tokens(x, x_at, k0, n, stage);
    for (int b = 0; b < n; b += BLOCK) {
      rowf c[TT][GG];
      __global const uint* w[GG];
#pragma unroll
      for (int i = 0; i < TT * GG; ++i) c[i / GG][i % GG] = (rowf)0.0f;
#pragma unroll
      for (int g = 0; g < GG; ++g) w[g] = rows.words[g] + (size_t)((k0 + b) / PER_WORD) * 16;
      add_block(c, stage + b, w, min(BLOCK, n - b));
#pragma unroll
      for (int g = 0; g < GG; ++g) {
        const rowf scale = block_scale(&rows, g, (k0 + b) / BLOCK);
#pragma unroll
        for (int t = 0; t < TT; ++t) {
#if W_BITS <= 8
          total[t][g] = fma(c[t][g] * UNFACTOR, scale, total[t][g]);  // both products are exact
#else
          total[t][g] += c[t][g];
#endif
        }
      }
    }
  }
}

#endif

// Stores the values of row group `group` whose rows lie in [begin, end) at y[row].
#define DEFINE_STORE_ROWS(NAME, TYPE)                                                  \
  EM_FN void NAME(__global CAT(TYPE, _t) * y, int group, int begin, int end, rowf v) { \
    const int row = group * 16 + LANE_ROW;                                             \
    STORE_ROWS_BODY(TYPE)                                                              \
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
