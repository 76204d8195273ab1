// dot(x, w) on work-items: a weight matrix is read by many of them at once, whatever its shape.
//
// The blocks of a row are independent, only their sums are added in order (exact_math.h). So a work-item takes one
// block of half a row group, and a row is shared by as many work-items as it has blocks. Options: those of weights.cl;
// GROUP; WHOLE, 1 where nothing needs to be guarded.
//   one token:   ABREAST, blocks that a work-group takes at once, 8 at least; WHOLE: K is a multiple of them
//   many tokens: QUADS, quarters of row groups that a work-item sums for four tokens; WHOLE: K is a multiple of a block
#if defined(W) && !VECTOR_LANES

#define BLOCK_WORDS (BLOCK / PER_WORD)
#define BLOCKS(k) (((k) + BLOCK - 1) / BLOCK)

// Words of four rows that start at `row` of a matrix, from word `word` on.
EM_FN __global const uint* words_from(const Matrix* m, int row, int word) {
  return m->words_at + ((size_t)(row / 16) * m->words + word) * 16 + row % 16;
}

// The i-th of them, `left` before the end of the rows; past that 0.
EM_FN rowu word_at(__global const uint* words, int i, int left) {
#if !WHOLE
  if (i >= left) return (rowu)0u;
#endif
  return load_words(words + i * 16);
}

// The scales of those rows, from block `block` on.
EM_FN __global const uchar* scales_from(const Matrix* m, int row, int block) {
#if W_BITS == 4
  return m->scales_at + ((size_t)(row / 16) * m->scale_cols + block) * 16 + row % 16;
#else
  return m->scales_at + (size_t)(row / 128) * m->scale_cols + block / (128 / BLOCK);
#endif
}

// The first of them.
EM_FN rowf scale_at(__global const uchar* scales) {
#if W_BITS == 4
  return scale_value(load_scales(scales));
#elif W_BITS == 8
  return scale_value((rowu)(uint)*scales);
#else
  return (rowf)1.0f;
#endif
}

#ifdef ABREAST

#define OWN_QUADS 2  // quarters of a row group that a work-item takes, one below the other
#define QUAD_ROW(q) ((q)*8 + LANE % 2 * 4)
#define GROUPS_ABREAST (GROUP / 2 / ABREAST)  // row groups of a work-group
#define HALF_SUMS (GROUP / 2 * 16)
#define SUMS (2 * HALF_SUMS)  // floats of local memory, two halves in turn

// sum[q] = that of one block of four rows, without its scale. Rows are a half group, from QUAD_ROW(0) on; x has
// `x_left` elements left, rows `words_left` words.
EM_FN void block_sums(__global const act_t* x, int x_left, __global const uint* words, int words_left,
                      rowf sum[OWN_QUADS]) {
  rowf chain[2][OWN_QUADS];
#pragma unroll
  for (int c = 0; c < 2; ++c) {
#pragma unroll
    for (int q = 0; q < OWN_QUADS; ++q) chain[c][q] = (rowf)0.0f;
#pragma unroll
    for (int i = c * CHAIN; i < c * CHAIN + CHAIN; i += 8) {
      float v[8];
      load8_act(x, i, x_left, WHOLE, v);
#pragma unroll
      for (int q = 0; q < OWN_QUADS; ++q) {
#pragma unroll
        for (int j = 0; j < 8; j += PER_WORD) {
          rowf w[PER_WORD];
          decode_word(word_at(words + q * 8, (i + j) / PER_WORD, words_left), w);
#pragma unroll
          for (int e = 0; e < PER_WORD; ++e) chain[c][q] = em_fma((rowf)v[j + e], w[e], chain[c][q]);
        }
      }
    }
  }
#pragma unroll
  for (int q = 0; q < OWN_QUADS; ++q) sum[q] = (chain[0][q] + chain[1][q]) * UNFACTOR;
}

// dot(x, row LANE % 16 of row group `group` + LANE / 16), for work-items below 16 * GROUPS_ABREAST. `turn` counts the
// rounds of the work-group: two that follow each other write different halves of `sums`, so that one barrier a round
// is enough. All work-items call it; past the last row group they read that again.
EM_FN float dot_rows(__global const act_t* x, int k_all, const Matrix* m, int group, __local float* sums, int* turn) {
  const int mine = LANE / 2 % ABREAST, which = LANE / 2 / ABREAST;
  const int row = min(group + which, m->groups - 1) * 16 + QUAD_ROW(0), blocks = BLOCKS(k_all);
  __global const uint* words = words_from(m, row, mine * BLOCK_WORDS);
  __global const uchar* scales = scales_from(m, row, mine);
  float total = 0.0f;
  x += mine * BLOCK;
  for (int first = 0; first < blocks; first += ABREAST, *turn ^= 1) {
    __local float* half_sums = sums + *turn * HALF_SUMS;
    const int block = first + mine;
    rowf sum[OWN_QUADS];  // 0 past the last block: a total is never -0, so that adding 0 leaves it as it is
#pragma unroll
    for (int q = 0; q < OWN_QUADS; ++q) sum[q] = (rowf)0.0f;
    if (WHOLE || block < blocks) {
      block_sums(x, k_all - block * BLOCK, words, m->words - block * BLOCK_WORDS, sum);
#pragma unroll
      for (int q = 0; q < OWN_QUADS; ++q) sum[q] *= scale_at(scales + (W_BITS == 4 ? q * 8 : 0));
    }
#pragma unroll
    for (int q = 0; q < OWN_QUADS; ++q) vstore4(sum[q], 0, half_sums + LANE / 2 * 16 + QUAD_ROW(q));
    x += ABREAST * BLOCK;
    words += ABREAST * BLOCK_WORDS * 16;
    scales += W_BITS == 4 ? ABREAST * 16 : ABREAST * BLOCK / 128;
    SYNC;
    if (LANE < 16 * GROUPS_ABREAST) {
      __local const float* at = half_sums + LANE / 16 * ABREAST * 16 + LANE % 16;
#pragma unroll 16
      for (int b = 0; b < ABREAST; ++b) total += at[b * 16];
    }
  }
  return total;
}

#else

#define TILE_ROWS (64 * QUADS)
#define TILE_TOKENS (GROUP / 4)
#define ITEM_ROW(q) ((q)*64 + LANE % 16 * 4)  // of the tile: the first of four
#define ITEM_TOKEN (LANE / 16 * 4)            // likewise
#define ROW_PITCH (TILE_ROWS + 4)
#define TOKEN_PITCH (TILE_TOKENS + 4)
#define STAGE_FLOATS (BLOCK * (ROW_PITCH + TOKEN_PITCH))
#define TILE_WORDS (TILE_ROWS / 4 * BLOCK_WORDS)  // quarters of row groups by words
#define FETCHES ((TILE_WORDS + GROUP - 1) / GROUP)

// The index-th quarter of words of a tile's block: four rows from `row` on, word `word` of the block.
#define FETCH_ROW(index) ((index) / (4 * BLOCK_WORDS) * 16 + (index) % 4 * 4)
#define FETCH_WORD(index) ((index) / 4 % BLOCK_WORDS)

EM_FN void fetch_weights(const Matrix* m, int first, int block, rowu bits[FETCHES], rowf scale[FETCHES]) {
#pragma unroll
  for (int i = 0; i < FETCHES; ++i) {
    const int index = (LANE + i * GROUP) % TILE_WORDS;
    const int row = min(first + FETCH_ROW(index), m->groups * 16 - 16 + index % 4 * 4);
    const int word = block * BLOCK_WORDS + FETCH_WORD(index);
    bits[i] = word_at(words_from(m, row, word), 0, m->words - word);
    scale[i] = scale_at(scales_from(m, row, block));
  }
}

EM_FN void stage_block(const rowu bits[FETCHES], const rowf scale[FETCHES], const float x[8], __local float* weights,
                       __local float* tokens) {
#pragma unroll
  for (int i = 0; i < FETCHES; ++i) {
    const int index = (LANE + i * GROUP) % TILE_WORDS;
    __local float* to = weights + FETCH_WORD(index) * PER_WORD * ROW_PITCH + FETCH_ROW(index);
    rowf w[PER_WORD];
    decode_word(bits[i], w);
#pragma unroll
    for (int j = 0; j < PER_WORD; ++j) {
#if W_BITS <= 8
      *(__local float4*)(to + j * ROW_PITCH) = w[j] * scale[i];
#else
      *(__local float4*)(to + j * ROW_PITCH) = w[j];
#endif
    }
  }
#pragma unroll
  for (int j = 0; j < 8; ++j) {  // 1 / UNFACTOR is in the weights, of which there are more
    tokens[(LANE / TILE_TOKENS * 8 + j) * TOKEN_PITCH + LANE % TILE_TOKENS] = x[j] * UNFACTOR;
  }
}

// c[q][t] = the chain of a staged block that starts at its element `begin`.
EM_FN void sum_chain(__local const float* weights, __local const float* tokens, int begin, rowf c[QUADS][4]) {
#pragma unroll
  for (int q = 0; q < QUADS; ++q) {
#pragma unroll
    for (int t = 0; t < 4; ++t) c[q][t] = (rowf)0.0f;
  }
#pragma unroll 8
  for (int k = begin; k < begin + CHAIN; ++k) {
    const float4 x = *(__local const float4*)(tokens + k * TOKEN_PITCH + ITEM_TOKEN);
#pragma unroll
    for (int q = 0; q < QUADS; ++q) {
      const rowf w = *(__local const float4*)(weights + k * ROW_PITCH + ITEM_ROW(q));
      c[q][0] = em_fma((rowf)x.x, w, c[q][0]);
      c[q][1] = em_fma((rowf)x.y, w, c[q][1]);
      c[q][2] = em_fma((rowf)x.z, w, c[q][2]);
      c[q][3] = em_fma((rowf)x.w, w, c[q][3]);
    }
  }
}

// total[q][t] = dot of the tile's tokens ITEM_TOKEN + t < live and its four rows from ITEM_ROW(q) on, which lie from
// row `first` of the matrix on. A work-item brings token LANE % TILE_TOKENS of the tile, which starts at `x`. The tile
// of weights is decoded once, while the next one is on its way.
EM_FN void dot_tile(rowf total[QUADS][4], __global const act_t* x, int live, int k_all, const Matrix* m, int first,
                    __local float* stage) {
  __local float* tokens = stage + BLOCK * ROW_PITCH;
  rowu bits[FETCHES];
  rowf scale[FETCHES];
  float of_x[8];
  const int segment = LANE / TILE_TOKENS * 8, blocks = BLOCKS(k_all);
#pragma unroll
  for (int q = 0; q < QUADS; ++q) {
#pragma unroll
    for (int t = 0; t < 4; ++t) total[q][t] = (rowf)0.0f;
  }
  fetch_weights(m, first, 0, bits, scale);
  load8_act(x, segment, k_all, WHOLE, of_x);
  for (int block = 0; block < blocks; ++block) {
    SYNC;
    stage_block(bits, scale, of_x, stage, tokens);
    SYNC;
    if (block + 1 < blocks) {
      fetch_weights(m, first, block + 1, bits, scale);
      load8_act(x, (block + 1) * BLOCK + segment, k_all, WHOLE, of_x);
    }
    if (ITEM_TOKEN < live) {
      rowf e[QUADS][4], o[QUADS][4];
      sum_chain(stage, tokens, 0, e);
      sum_chain(stage, tokens, CHAIN, o);
#pragma unroll
      for (int q = 0; q < QUADS; ++q) {
#pragma unroll
        for (int t = 0; t < 4; ++t) total[q][t] += e[q][t] + o[q][t];
      }
    }
  }
}

#endif
#endif
