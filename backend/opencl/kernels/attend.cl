// Attention over the ring and the compressed entries, with a sink (ops/attention/attention.h: Attend), on vector lanes.
// Options: ACT; those of row_format.cl; HEADS; HEAD_LANES, heads per work-group; ROW_CHUNK, decoded rows held at once;
// ROUNDS.
//
// All heads share the rows, so heads lie side by side in a vector. Blocks of 64 slots, of which the live ones are
// worked off in ascending order.

#define CHAIN 16  // elements or slots of one chain; two make a block of dot (exact_math.h)

#if HEAD_LANES == 16
typedef float16 headf;
#define load_heads vload16
#define store_heads vstore16
#elif HEAD_LANES == 8
typedef float8 headf;
#define load_heads vload8
#define store_heads vstore8
#else
typedef float4 headf;
#define load_heads vload4
#define store_heads vstore4
#endif
#define ROWS_AT_ONCE 8  // scores computed side by side
#define DIMS_AT_ONCE 8  // accumulators held in registers

// c[i] = the chain of q * row[i] over elements from `begin` on.
EM_FN void score_chain(const float* q, __local const float* const row[ROWS_AT_ONCE], int begin, headf c[ROWS_AT_ONCE]) {
#pragma unroll
  for (int i = 0; i < ROWS_AT_ONCE; ++i) c[i] = 0.0f;
#pragma unroll 2
  for (int d = begin; d < min(begin + CHAIN, DIM); ++d) {
    const headf of_heads = load_heads(d, q);
#pragma unroll
    for (int i = 0; i < ROWS_AT_ONCE; ++i) c[i] = em_fma(of_heads, (headf)row[i][d], c[i]);
  }
}

// dot(q, row) * scale for rows [0, n) of `rows`; s[i] goes to scores[order[i]].
EM_FN void score_rows(const float* q, __local const float* rows, const int* order, int n, float scale, float* scores) {
  for (int r = 0; r < n; r += ROWS_AT_ONCE) {
    __local const float* row[ROWS_AT_ONCE];
    headf total[ROWS_AT_ONCE];
#pragma unroll
    for (int i = 0; i < ROWS_AT_ONCE; ++i) {
      row[i] = rows + min(r + i, n - 1) * DIM;
      total[i] = 0.0f;
    }
    for (int block = 0; block < DIM; block += 2 * CHAIN) {
      headf e[ROWS_AT_ONCE], o[ROWS_AT_ONCE];
      score_chain(q, row, block, e);
      score_chain(q, row, block + CHAIN, o);
#pragma unroll
      for (int i = 0; i < ROWS_AT_ONCE; ++i) total[i] += e[i] + o[i];
    }
#pragma unroll
    for (int i = 0; i < ROWS_AT_ONCE; ++i) {
      if (r + i < n) store_heads(total[i] * scale, order[r + i], scores);
    }
  }
}

// The live rows of a block: slot order[i], row source[i]; those of chain c of the value sums are begins[c] <= i <
// begins[c + 1].
typedef struct {
  int order[SLOTS], source[SLOTS], begins[SLOTS / CHAIN + 1], live;
} Block;

// Where not all rows of a block can be held, values are read from the cache again.
#if ROW_CHUNK < SLOTS
#define VALUE row_value
#else
#define VALUE(row, d) ((row)[d])
#endif

// c[i] = the chain of e * row over the rows [begin, end) of a block, for element d + i.
EM_FN void value_chain(const Block* block, int begin, int end, const Reach* reach, const Entries* entries,
                       __global const uchar* ring, __global const uchar* cache, __local const float* rows,
                       const float* e, int d, headf c[DIMS_AT_ONCE]) {
#pragma unroll
  for (int i = 0; i < DIMS_AT_ONCE; ++i) c[i] = 0.0f;
#pragma unroll 1
  for (int r = begin; r < end; ++r) {
    const headf weight = load_heads(block->order[r], e);
#if ROW_CHUNK < SLOTS
    __global const uchar* row = row_at(reach, entries, ring, cache, block->source[r]);
#else
    __local const float* row = rows + r * DIM;
#endif
#pragma unroll
    for (int i = 0; i < DIMS_AT_ONCE; ++i) c[i] = em_fma(weight, (headf)VALUE(row, min(d + i, DIM - 1)), c[i]);
  }
}

// acc[d] = acc[d] * rescale, then + (c + c') for every two chains of a block.
EM_FN void add_values(const Block* block, const Reach* reach, const Entries* entries, __global const uchar* ring,
                      __global const uchar* cache, __local const float* rows, const float* e, const float* rescale,
                      float* acc) {
  const headf factor = load_heads(0, rescale);
  for (int d = 0; d < DIM; d += DIMS_AT_ONCE) {
    headf sum[DIMS_AT_ONCE], first[DIMS_AT_ONCE], second[DIMS_AT_ONCE];
#pragma unroll
    for (int i = 0; i < DIMS_AT_ONCE; ++i) sum[i] = load_heads(min(d + i, DIM - 1), acc) * factor;
    for (int c = 0; c < SLOTS / CHAIN; c += 2) {
      const int* begins = block->begins + c;
      value_chain(block, begins[0], begins[1], reach, entries, ring, cache, rows, e, d, first);
      value_chain(block, begins[1], begins[2], reach, entries, ring, cache, rows, e, d, second);
#pragma unroll
      for (int i = 0; i < DIMS_AT_ONCE; ++i) sum[i] += first[i] + second[i];
    }
#pragma unroll
    for (int i = 0; i < DIMS_AT_ONCE; ++i) {
      if (d + i < DIM) store_heads(sum[i], d + i, acc);
    }
  }
}

// Per head: e = em_weight(s - maximum) of live slots, the others hold 0; returns their sum64 in `sums`.
EM_FN void exponentials(float* scores, const int* order, int n, const float* maximum, float* sums) {
  float e[SLOTS * HEAD_LANES];
  for (int i = 0; i < SLOTS * HEAD_LANES; ++i) e[i] = 0.0f;
  for (int r = 0; r < n; ++r) {
    const int at = order[r] * HEAD_LANES;
    for (int h = 0; h < HEAD_LANES; ++h) e[at + h] = em_weight(scores[at + h] - maximum[h]);
  }
  for (int i = 0; i < SLOTS * HEAD_LANES; ++i) scores[i] = ROUNDS ? em_bf16(e[i]) : e[i];
  for (int half_width = SLOTS / 2; half_width > 0; half_width /= 2) {
    for (int i = 0; i < half_width * HEAD_LANES; ++i) e[i] += e[i + half_width * HEAD_LANES];
  }
  for (int h = 0; h < HEAD_LANES; ++h) sums[h] = e[h];
}

// Grid (rows, head tiles).
KERNEL void attend(__global const int4* restrict step, __global const act_t* restrict q,
                   __global const uchar* restrict ring, __global const float* restrict sink,
                   __global const uchar* restrict cache, __global const int* restrict table, int shift, int capacity,
                   __global const int* restrict idx, __global act_t* restrict out, int window, int ratio, int top_k,
                   int ring_rows, float scale) {
  __local float rows[ROW_CHUNK * DIM];
  float query[DIM * HEAD_LANES], acc[DIM * HEAD_LANES], scores[SLOTS * HEAD_LANES];
  float maximum[HEAD_LANES], total[HEAD_LANES];
  const Reach reach = {window, ratio, top_k, ring_rows};
  const int t = get_group_id(0), head0 = (int)get_group_id(1) * HEAD_LANES;
  const int4 row = step[1 + t];
  const Entries entries = {table, shift, capacity, row.x};
  ring += (size_t)row.x * ring_rows * ROW_BYTES;
  q += (size_t)t * HEADS * DIM;
  for (int h = 0; h < HEAD_LANES; ++h) {  // past the last head, the last one again
    const size_t at = (size_t)min(head0 + h, HEADS - 1) * DIM;
    for (int d = 0; d < DIM; ++d) query[d * HEAD_LANES + h] = load_act(q, at + d);
    maximum[h] = -INFINITY;
    total[h] = 0.0f;
  }
  for (int i = 0; i < DIM * HEAD_LANES; ++i) acc[i] = 0.0f;

  const int slots = slot_count(&reach, row);
  for (int base = 0; base < slots; base += SLOTS) {
    Block block;
    block.live = 0;
    for (int i = 0; i < SLOTS; ++i) {
      if (i % CHAIN == 0) block.begins[i / CHAIN] = block.live;
      const int from = base + i < slots ? slot_row(&reach, row, idx, t, base + i) : -1;
      if (from < 0) continue;
      block.order[block.live] = i;
      block.source[block.live++] = from;
    }
    block.begins[SLOTS / CHAIN] = block.live;
    const int live = block.live;
    if (live == 0) continue;

    for (int first = 0; first < live; first += ROW_CHUNK) {
      const int n = min(ROW_CHUNK, live - first);
      for (int r = 0; r < n; ++r)
        decode_row(row_at(&reach, &entries, ring, cache, block.source[first + r]), rows + r * DIM);
      score_rows(query, rows, block.order + first, n, scale, scores);
    }
    float rescale[HEAD_LANES], sums[HEAD_LANES];
    for (int h = 0; h < HEAD_LANES; ++h) rescale[h] = maximum[h];
    for (int r = 0; r < live; ++r) {
      for (int h = 0; h < HEAD_LANES; ++h) maximum[h] = em_max(scores[block.order[r] * HEAD_LANES + h], maximum[h]);
    }
    for (int h = 0; h < HEAD_LANES; ++h) rescale[h] = em_weight(rescale[h] - maximum[h]);
    exponentials(scores, block.order, live, maximum, sums);
    for (int h = 0; h < HEAD_LANES; ++h) total[h] = total[h] * rescale[h] + sums[h];
    add_values(&block, &reach, &entries, ring, cache, rows, scores, rescale, acc);
  }

  for (int h = 0; h < HEAD_LANES && head0 + h < HEADS; ++h) {
    const float z = total[h] + em_exp(sink[head0 + h] - maximum[h]);
    __global act_t* to = out + ((size_t)t * HEADS + head0 + h) * DIM;
    for (int d = 0; d < DIM; ++d) store_act(to, d, em_div(acc[d * HEAD_LANES + h], z));
  }
}
