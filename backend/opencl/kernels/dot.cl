// dot(x, w) of a tile of tokens and a tile of weight rows, for weights in Layout::kRows16.
// Options: W, the weight type (fp4, fp8, bf16, f16, f32), W_BITS its width; TOKEN_TILE and ROW_TILE, the tokens and the
// row groups of a tile: each lane holds TOKEN_TILE * ROW_TILE sums. Wider tiles read x and weights less often, until
// the sums no longer fit the registers.
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
#define TILE_GROUPS (ROW_TILE * GROUPS_ABREAST)

#define PER_WORD (32 / W_BITS)
#if W_BITS == 4
#define SCALE_BLOCK 32  // values of k that share a scale
#else
#define SCALE_BLOCK 128
#endif
#define CHAIN 16         // values of k of one chain; two make a block of dot (exact_math.h)
#define STAGE_DEPTH 128  // values of k that are staged at once

// With vector lanes and many tokens the weights of a stage are decoded once, into a panel, and used by TOKENS_ABREAST
// tokens at a time, whose sums fill the registers.
#if VECTOR_LANES && TOKEN_TILE > 1
#define PANEL 1
#define TOKENS_ABREAST 8
#define STAGE_FLOATS (TOKENS_ABREAST * STAGE_DEPTH + STAGE_DEPTH * ROW_TILE * 16)
#else
#define PANEL 0
#define TOKENS_ABREAST TOKEN_TILE
#define STAGE_FLOATS (TOKEN_TILE * STAGE_DEPTH)
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
  __global const uint* words[ROW_TILE];
  __global const uchar* scales[ROW_TILE];
} Rows;

EM_FN Rows rows_at(const Matrix* m, int first) {
  Rows rows;
#pragma unroll
  for (int g = 0; g < ROW_TILE; ++g) {
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

// c += the products of element k. `x` holds TOKENS_ABREAST tokens, STAGE_DEPTH apart.
EM_FN void add_element(rowf c[TOKENS_ABREAST][ROW_TILE], __local const float* x, int k, const rowf w[ROW_TILE]) {
#pragma unroll
  for (int t = 0; t < TOKENS_ABREAST; ++t) {
#pragma unroll
    for (int g = 0; g < ROW_TILE; ++g) c[t][g] = fma((rowf)x[t * STAGE_DEPTH + k], w[g], c[t][g]);
  }
}

// Values [k0, k0 + n) of the TOKENS_ABREAST tokens that start at x_at[0] as floats, STAGE_DEPTH apart. What a last word
// holds past them is zero on both sides and counts as nothing.
EM_FN void stage_tokens(__global const act_t* x, const size_t* x_at, int k0, int n, __local float* stage) {
  const int whole_words = (n + PER_WORD - 1) / PER_WORD * PER_WORD;
  SYNC;
  for (int t = 0; t < TOKENS_ABREAST; ++t) {
    for (int i = LANE; i < whole_words; i += GROUP) {
      stage[t * STAGE_DEPTH + i] = i < n ? load_act(x, x_at[t] + k0 + i) : 0.0f;
    }
  }
  SYNC;
}

#if PANEL

// Elements [0, n) of a stage that starts at element k0 of the rows: panel[k][g] holds 16 weights, scale included.
EM_FN void decode_panel(const Rows* rows, int k0, int n, __local float* panel) {
  for (int b = 0; b < n; b += SCALE_BLOCK) {
    rowf scale[ROW_TILE];
#pragma unroll
    for (int g = 0; g < ROW_TILE; ++g) scale[g] = block_scale(rows, g, (k0 + b) / SCALE_BLOCK);
    const int end = min(b + SCALE_BLOCK, n);
#pragma unroll 1
    for (int k = b; k < end; k += PER_WORD) {
#pragma unroll
      for (int g = 0; g < ROW_TILE; ++g) {
        const rowu bits = load_words(rows->words[g] + (size_t)((k0 + k) / PER_WORD) * 16);
#pragma unroll
        for (int i = 0; i < PER_WORD; ++i) {
#if W_BITS <= 8
          const rowf value = decode(bits, i) * UNFACTOR * scale[g];
#else
          const rowf value = decode(bits, i);
#endif
          vstore16(value, (k + i) * ROW_TILE + g, panel);
        }
      }
    }
  }
}

// c = the chains over n elements.
EM_FN void sum_chain(rowf c[TOKENS_ABREAST][ROW_TILE], __local const float* x, __local const float* panel, int n) {
#pragma unroll
  for (int i = 0; i < TOKENS_ABREAST * ROW_TILE; ++i) c[i / ROW_TILE][i % ROW_TILE] = (rowf)0.0f;
#pragma unroll 4
  for (int k = 0; k < n; ++k) {
    rowf w[ROW_TILE];
#pragma unroll
    for (int g = 0; g < ROW_TILE; ++g) w[g] = vload16(k * ROW_TILE + g, panel);
    add_element(c, x, k, w);
  }
}

// total[t][g] = dot(x[x_at[t] .. + k), rows of group_of(first, g)) for t < live. `stage` is STAGE_FLOATS floats.
EM_FN void dot_tile(rowf total[TOKEN_TILE][ROW_TILE], __global const act_t* x, const size_t x_at[TOKEN_TILE], int live,
                    int k_all, const Matrix* m, int first, __local float* stage) {
  __local float* panel = stage + TOKENS_ABREAST * STAGE_DEPTH;
  const Rows rows = rows_at(m, first);
  for (int t = 0; t < TOKEN_TILE; ++t) {
    for (int g = 0; g < ROW_TILE; ++g) total[t][g] = (rowf)0.0f;
  }
  for (int k0 = 0; k0 < k_all; k0 += STAGE_DEPTH) {
    const int n = min(STAGE_DEPTH, k_all - k0);
    decode_panel(&rows, k0, n, panel);
    for (int t0 = 0; t0 < live; t0 += TOKENS_ABREAST) {
      stage_tokens(x, x_at + t0, k0, n, stage);
      for (int b = 0; b < n; b += 2 * CHAIN) {
        rowf e[TOKENS_ABREAST][ROW_TILE], o[TOKENS_ABREAST][ROW_TILE];
        sum_chain(e, stage + b, panel + b * ROW_TILE * 16, min(CHAIN, n - b));
        sum_chain(o, stage + b + CHAIN, panel + (b + CHAIN) * ROW_TILE * 16, min(CHAIN, n - b - CHAIN));
#pragma unroll
        for (int i = 0; i < TOKENS_ABREAST * ROW_TILE; ++i) {
          total[t0 + i / ROW_TILE][i % ROW_TILE] += e[i / ROW_TILE][i % ROW_TILE] + o[i / ROW_TILE][i % ROW_TILE];
        }
      }
    }
  }
}

#else

// c = the chains over n elements whose words start at w[g].
EM_FN void sum_chain(rowf c[TOKEN_TILE][ROW_TILE], __local const float* x, __global const uint* const w[ROW_TILE],
                     int n) {
#pragma unroll
  for (int i = 0; i < TOKEN_TILE * ROW_TILE; ++i) c[i / ROW_TILE][i % ROW_TILE] = (rowf)0.0f;
#pragma unroll 1
  for (int k = 0; k < n; k += PER_WORD) {
    rowu bits[ROW_TILE];
#pragma unroll
    for (int g = 0; g < ROW_TILE; ++g) bits[g] = load_words(w[g] + k / PER_WORD * 16);
#pragma unroll
    for (int i = 0; i < PER_WORD; ++i) {
      rowf weight[ROW_TILE];
#pragma unroll
      for (int g = 0; g < ROW_TILE; ++g) weight[g] = decode(bits[g], i);
      add_element(c, x, k + i, weight);
    }
  }
}

// total[t][g] = dot(x[x_at[t] .. + k), rows of group_of(first, g)). `stage` is STAGE_FLOATS floats.
EM_FN void dot_tile(rowf total[TOKEN_TILE][ROW_TILE], __global const act_t* x, const size_t x_at[TOKEN_TILE], int live,
                    int k_all, const Matrix* m, int first, __local float* stage) {
  const Rows rows = rows_at(m, first);
#pragma unroll
  for (int i = 0; i < TOKEN_TILE * ROW_TILE; ++i) total[i / ROW_TILE][i % ROW_TILE] = (rowf)0.0f;
  for (int k0 = 0; k0 < k_all; k0 += STAGE_DEPTH) {
    const int n = min(STAGE_DEPTH, k_all - k0);
    stage_tokens(x, x_at, k0, n, stage);
    for (int b = 0; b < n; b += 2 * CHAIN) {
      rowf e[TOKEN_TILE][ROW_TILE], o[TOKEN_TILE][ROW_TILE];
      __global const uint *w[ROW_TILE], *after[ROW_TILE];
#pragma unroll
      for (int g = 0; g < ROW_TILE; ++g) {
        w[g] = rows.words[g] + (size_t)((k0 + b) / PER_WORD) * 16;
        after[g] = w[g] + CHAIN / PER_WORD * 16;
      }
      sum_chain(e, stage + b, w, min(CHAIN, n - b));
      sum_chain(o, stage + b + CHAIN, after, min(CHAIN, n - b - CHAIN));
#pragma unroll
      for (int g = 0; g < ROW_TILE; ++g) {
        const rowf scale = block_scale(&rows, g, (k0 + b) / SCALE_BLOCK);
#pragma unroll
        for (int t = 0; t < TOKEN_TILE; ++t) {
          const rowf sum = e[t][g] + o[t][g];
#if W_BITS <= 8
          total[t][g] = fma(sum * UNFACTOR, scale, total[t][g]);  // both products are exact
#else
          total[t][g] += sum;
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
