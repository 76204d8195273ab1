// dot(x, w) of a tile of tokens and a tile of weight rows, on vector lanes.
// Options: those of weights.cl; TOKEN_TILE and ROW_TILE, the tokens and the row groups of a tile; WHOLE, whether rows
// are of whole blocks: for one token.
#if defined(W) && VECTOR_LANES

#define STAGE_DEPTH 128  // values of k that are staged at once

// TOKENS_ABREAST * ROWS_ABREAST sums are made at a time: as many as fit the registers. Of many tokens a stage is read
// once for all row groups, and the weights of ROWS_ABREAST of these are decoded once for all tokens, into a panel.
#if TOKEN_TILE > 1
#define PANEL 1
#define TOKENS_ABREAST 8
#define ROWS_ABREAST 2
#define STAGE_FLOATS (TOKEN_TILE * STAGE_DEPTH + STAGE_DEPTH * ROWS_ABREAST * 16)
#else
#define PANEL 0
#define WORDS_IN_TURN (W_BITS == 4 ? 2 : 1)  // of a chain, without a loop
#define STAGE_FLOATS STAGE_DEPTH
#endif

// Where the tile's weights are read: per row group the words and the scales of block 0.
typedef struct {
  __global const uint* words[ROW_TILE];
  __global const uchar* scales[ROW_TILE];
} Rows;

// Past the last row group, the last one again.
EM_FN Rows rows_at(const Matrix* m, int first) {
  Rows rows;
#pragma unroll
  for (int g = 0; g < ROW_TILE; ++g) {
    const int group = min(first + g, m->groups - 1);
    rows.words[g] = m->words_at + (size_t)group * m->words * 16;
#if W_BITS == 4
    rows.scales[g] = m->scales_at + (size_t)group * m->scale_cols * 16;
#else
    rows.scales[g] = m->scales_at + (size_t)(group / 8) * m->scale_cols;
#endif
  }
  return rows;
}

// The scale of block `block` of row group g.
EM_FN rowf block_scale(const Rows* rows, int g, int block) {
#if W_BITS == 4
  return scale_value(load_scales(rows->scales[g] + block * 16));
#elif W_BITS == 8
  return scale_value((rowu)(uint)rows->scales[g][block]);
#else
  return (rowf)1.0f;
#endif
}

// Values [k0, k0 + n) of `count` tokens as floats, STAGE_DEPTH apart. What a last word holds past them is zero on both
// sides and counts as nothing.
EM_FN void stage_tokens(__global const act_t* x, const size_t x_at[TOKEN_TILE], int count, int k0, int n,
                        __local float* stage) {
  const int whole_words = (n + PER_WORD - 1) / PER_WORD * PER_WORD;
  for (int t = 0; t < count; ++t) {
    int i = 0;
    for (; i + 16 <= n; i += 16) {
      vstore16(load16_act(x, x_at[t] + k0 + i), 0, stage + t * STAGE_DEPTH + i);
#if ASK_AHEAD
      __builtin_prefetch((const void*)(size_t)(x + x_at[t] + k0 + STAGE_DEPTH + i), 0, 2);
#endif
    }
    for (; i < whole_words; ++i) {
      stage[t * STAGE_DEPTH + i] = i < n ? load_act(x, x_at[t] + k0 + i) : 0.0f;
    }
  }
}

#if PANEL

// c += the products of element k. `x` holds TOKENS_ABREAST tokens, STAGE_DEPTH apart.
EM_FN void add_element(rowf c[TOKENS_ABREAST][ROWS_ABREAST], __local const float* x, int k,
                       const rowf w[ROWS_ABREAST]) {
#pragma unroll
  for (int t = 0; t < TOKENS_ABREAST; ++t) {
#pragma unroll
    for (int g = 0; g < ROWS_ABREAST; ++g) c[t][g] = em_fma((rowf)x[t * STAGE_DEPTH + k], w[g], c[t][g]);
  }
}

// Elements [0, n) of a stage that starts at element k0 of the rows, of row groups from `first` on: panel[k][g] holds 16
// weights, scale included.
EM_FN void decode_panel(const Rows* rows, int first, int k0, int n, __local float* panel) {
  for (int b = 0; b < n; b += SCALE_BLOCK) {
    rowf scale[ROWS_ABREAST];
#pragma unroll
    for (int g = 0; g < ROWS_ABREAST; ++g) scale[g] = block_scale(rows, first + g, (k0 + b) / SCALE_BLOCK);
    const int end = min(b + SCALE_BLOCK, n);
#pragma unroll 1
    for (int k = b; k < end; k += PER_WORD) {
#pragma unroll
      for (int g = 0; g < ROWS_ABREAST; ++g) {
        const rowu bits = load_words(rows->words[first + g] + (size_t)((k0 + k) / PER_WORD) * 16);
#pragma unroll
        for (int i = 0; i < PER_WORD; ++i) {
#if W_BITS <= 8
          const rowf value = decode(bits, i) * UNFACTOR * scale[g];
#else
          const rowf value = decode(bits, i);
#endif
          vstore16(value, (k + i) * ROWS_ABREAST + g, panel);
        }
      }
    }
  }
}

// c += the products of element k of the panel.
EM_FN void add_panel_element(rowf c[TOKENS_ABREAST][ROWS_ABREAST], __local const float* x, __local const float* panel,
                             int k) {
  rowf w[ROWS_ABREAST];
#pragma unroll
  for (int g = 0; g < ROWS_ABREAST; ++g) w[g] = vload16(k * ROWS_ABREAST + g, panel);
  add_element(c, x, k, w);
}

// c = the chains over CHAIN elements, or n.
EM_FN void sum_chain(rowf c[TOKENS_ABREAST][ROWS_ABREAST], __local const float* x, __local const float* panel, int n) {
#pragma unroll
  for (int i = 0; i < TOKENS_ABREAST * ROWS_ABREAST; ++i) c[i / ROWS_ABREAST][i % ROWS_ABREAST] = (rowf)0.0f;
#pragma unroll 1
  for (int k = 0; k < min(CHAIN, n); ++k) add_panel_element(c, x, panel, k);
}

// Adds e + o, the chains over a block's elements, or n, to the sums of tokens t0 and row groups g0 on.
EM_FN void add_block(rowf total[TOKEN_TILE][ROW_TILE], int t0, int g0, __local const float* x,
                     __local const float* panel, int n) {
  rowf e[TOKENS_ABREAST][ROWS_ABREAST], o[TOKENS_ABREAST][ROWS_ABREAST];
  sum_chain(e, x, panel, n);
  sum_chain(o, x + CHAIN, panel + CHAIN * ROWS_ABREAST * 16, n - CHAIN);
#pragma unroll
  for (int t = 0; t < TOKENS_ABREAST; ++t) {
#pragma unroll
    for (int g = 0; g < ROWS_ABREAST; ++g) total[t0 + t][g0 + g] += e[t][g] + o[t][g];
  }
}

// total[t][g] = dot(x[x_at[t] .. + k), rows of group first + g) for t < live. `stage` is STAGE_FLOATS floats.
EM_FN void dot_tile(rowf total[TOKEN_TILE][ROW_TILE], __global const act_t* x, const size_t x_at[TOKEN_TILE], int live,
                    int k_all, const Matrix* m, int first, __local float* stage) {
  __local float* panel = stage + TOKEN_TILE * STAGE_DEPTH;
  const Rows rows = rows_at(m, first);
  for (int t = 0; t < TOKEN_TILE; ++t) {
    for (int g = 0; g < ROW_TILE; ++g) total[t][g] = (rowf)0.0f;
  }
  for (int k0 = 0; k0 < k_all; k0 += STAGE_DEPTH) {
    const int n = min(STAGE_DEPTH, k_all - k0);
    stage_tokens(x, x_at, (live + TOKENS_ABREAST - 1) / TOKENS_ABREAST * TOKENS_ABREAST, k0, n, stage);
    for (int g0 = 0; g0 < min(ROW_TILE, m->groups - first); g0 += ROWS_ABREAST) {
      decode_panel(&rows, g0, k0, n, panel);
      for (int t0 = 0; t0 < live; t0 += TOKENS_ABREAST) {
        for (int b = 0; b < n; b += 2 * CHAIN)
          add_block(total, t0, g0, stage + t0 * STAGE_DEPTH + b, panel + b * ROWS_ABREAST * 16, n - b);
      }
    }
  }
}

#else

// c += the products of the elements of one word of each row group.
EM_FN void add_words(rowf c[ROW_TILE], __local const float* x, const Rows* rows, size_t at, size_t far) {
  rowf weights[ROW_TILE][PER_WORD];
#pragma unroll
  for (int g = 0; g < ROW_TILE; ++g) {
    decode_word(load_words(rows->words[g] + at), weights[g]);
    ask_ahead(rows->words[g] + at, far);
  }
#pragma unroll
  for (int i = 0; i < PER_WORD; ++i) {
#pragma unroll
    for (int g = 0; g < ROW_TILE; ++g) c[g] = em_fma((rowf)x[i], weights[g][i], c[g]);
  }
}

// How far from `at` in a row group of that length is what is read when `far` more has been. After its end comes the
// row group of the next tile, which most often is done next.
EM_FN size_t ahead_of(size_t at, size_t far, size_t length) {
  return at + far < length ? far : far + (ROW_TILE - 1) * length;
}

// total[0][g] = dot(x[x_at[0] .. + k), rows of group first + g). `stage` is STAGE_FLOATS floats.
EM_FN void dot_tile(rowf total[1][ROW_TILE], __global const act_t* x, const size_t x_at[1], int live, int k_all,
                    const Matrix* m, int first, __local float* stage) {
  const Rows rows = rows_at(m, first);
#pragma unroll
  for (int g = 0; g < ROW_TILE; ++g) total[0][g] = (rowf)0.0f;
  for (int k0 = 0; k0 < k_all; k0 += STAGE_DEPTH) {
    const int n = min(STAGE_DEPTH, k_all - k0);
    stage_tokens(x, x_at, 1, k0, n, stage);
    const size_t far = ahead_of((size_t)(k0 / PER_WORD) * 16, FAR, (size_t)m->words * 16);
#if W_BITS == 4 && ASK_AHEAD
    const int scales = k0 / SCALE_BLOCK * 16;
    for (int g = 0; g < ROW_TILE; ++g) {
      __builtin_prefetch((const void*)(size_t)(rows.scales[g] + scales + ahead_of(scales, 256, m->scale_cols * 16)), 0,
                         3);
    }
#endif
#pragma unroll 1
    for (int b = 0; b < n; b += 2 * CHAIN) {
      // A chain takes as long as its sums wait for each other, so that both are made at once.
      rowf e[ROW_TILE], o[ROW_TILE];
#pragma unroll
      for (int g = 0; g < ROW_TILE; ++g) e[g] = o[g] = (rowf)0.0f;
#pragma unroll WORDS_IN_TURN
      for (int k = b; k < (WHOLE ? b + CHAIN : min(b + CHAIN, n)); k += PER_WORD) {
        const size_t at = (size_t)((k0 + k) / PER_WORD) * 16;
        add_words(e, stage + k, &rows, at, far);
        if (WHOLE || k + CHAIN < n) add_words(o, stage + k + CHAIN, &rows, at + CHAIN / PER_WORD * 16, far);
      }
#pragma unroll
      for (int g = 0; g < ROW_TILE; ++g) {
#if W_BITS <= 8
        const rowf scale = block_scale(&rows, g, (k0 + b) / SCALE_BLOCK);
        total[0][g] = em_fma((e[g] + o[g]) * UNFACTOR, scale, total[0][g]);  // both products are exact
#else
        total[0][g] += e[g] + o[g];
#endif
      }
    }
  }
}

#endif

#endif
