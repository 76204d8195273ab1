// Attention over the ring and the compressed entries, with a sink (ops/attention/attention.h: Attend).
// Options: ACT; those of row_format.cl; HEADS; HEAD_LANES, heads per work-group; ROW_CHUNK, decoded rows held at once;
// ROUNDS.
//
// All heads share the rows, so heads lie side by side: with VECTOR_LANES as a vector, else as registers of each
// work-item. Blocks of 64 slots; the live ones are worked off in the order of the value sums: slot i + 1, then i.

#define SLOTS 64

typedef struct {
  int window, ratio, top_k, ring_rows, capacity;
} Extent;

// The row of slot j of the query in `row`; -1 when masked. Ring rows count from 0, entries from ring_rows on.
EM_FN int slot_row(const Extent* e, int4 row, __global const int* idx, int t, int j) {
  if (j < e->window) {
    const int p = max(0, row.y - e->window + 1) + j;
    return p > row.y ? -1 : p % e->ring_rows;
  }
  const int i = j - e->window;
  if (e->top_k > 0) {
    const int entry = idx[(size_t)t * e->top_k + i];
    return entry < 0 ? -1 : e->ring_rows + entry;
  }
  return e->ring_rows + i;
}

EM_FN int slot_count(const Extent* e, int4 row) {
  if (e->ratio == 0) return e->window;
  return e->window + (e->top_k > 0 ? e->top_k : (row.y + 1) / e->ratio);
}

EM_FN __global const uchar* row_at(const Extent* e, __global const uchar* ring, __global const uchar* cache, int row) {
  return row < e->ring_rows ? ring + (size_t)row * ROW_BYTES : cache + (size_t)(row - e->ring_rows) * ROW_BYTES;
}

#if VECTOR_LANES

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
    for (int block = 0; block < DIM; block += 128) {
      const int end = min(block + 128, DIM);
      headf c[ROWS_AT_ONCE];
#pragma unroll
      for (int i = 0; i < ROWS_AT_ONCE; ++i) c[i] = 0.0f;
#pragma unroll 1
      for (int d = block; d < end; d += 2) {
        if (d + 1 < end) {
          const headf odd = load_heads(d + 1, q);
#pragma unroll
          for (int i = 0; i < ROWS_AT_ONCE; ++i) c[i] = fma(odd, (headf)row[i][d + 1], c[i]);
        }
        const headf even = load_heads(d, q);
#pragma unroll
        for (int i = 0; i < ROWS_AT_ONCE; ++i) c[i] = fma(even, (headf)row[i][d], c[i]);
      }
#pragma unroll
      for (int i = 0; i < ROWS_AT_ONCE; ++i) total[i] += c[i];
    }
#pragma unroll
    for (int i = 0; i < ROWS_AT_ONCE; ++i) {
      if (r + i < n) store_heads(total[i] * scale, order[r + i], scores);
    }
  }
}

// acc[d] = fma(e[order[i]], rows[i][d], acc[d]) for i ascending.
EM_FN void add_values(const float* e, __local const float* rows, const int* order, int n, float* acc) {
  int d = 0;
  for (; d + DIMS_AT_ONCE <= DIM; d += DIMS_AT_ONCE) {
    headf a[DIMS_AT_ONCE];
#pragma unroll
    for (int i = 0; i < DIMS_AT_ONCE; ++i) a[i] = load_heads(d + i, acc);
#pragma unroll 1
    for (int r = 0; r < n; ++r) {
      const headf weight = load_heads(order[r], e);
#pragma unroll
      for (int i = 0; i < DIMS_AT_ONCE; ++i) a[i] = fma(weight, (headf)rows[r * DIM + d + i], a[i]);
    }
#pragma unroll
    for (int i = 0; i < DIMS_AT_ONCE; ++i) store_heads(a[i], d + i, acc);
  }
  for (; d < DIM; ++d) {
    headf a = load_heads(d, acc);
    for (int r = 0; r < n; ++r) a = fma(load_heads(order[r], e), (headf)rows[r * DIM + d], a);
    store_heads(a, d, acc);
  }
}

// Per head: e = em_exp(s - maximum) of live slots, the others hold 0; returns their sum64 in `sums`.
EM_FN void exponentials(float* scores, const int* order, int n, const float* maximum, float* sums) {
  float e[SLOTS * HEAD_LANES];
  for (int i = 0; i < SLOTS * HEAD_LANES; ++i) e[i] = 0.0f;
  for (int r = 0; r < n; ++r) {
    const int at = order[r] * HEAD_LANES;
    for (int h = 0; h < HEAD_LANES; ++h) e[at + h] = em_exp(scores[at + h] - maximum[h]);
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
                   __global const uchar* restrict cache, __global const int* restrict idx, __global act_t* restrict out,
                   int window, int ratio, int top_k, int ring_rows, int capacity, float scale) {
  __local float rows[ROW_CHUNK * DIM];
  float query[DIM * HEAD_LANES], acc[DIM * HEAD_LANES], scores[SLOTS * HEAD_LANES];
  float maximum[HEAD_LANES], total[HEAD_LANES];
  const Extent extent = {window, ratio, top_k, ring_rows, capacity};
  const int t = get_group_id(0), head0 = (int)get_group_id(1) * HEAD_LANES;
  const int4 row = step[1 + t];
  ring += (size_t)row.x * ring_rows * ROW_BYTES;
  cache += (size_t)row.x * capacity * ROW_BYTES;
  q += (size_t)t * HEADS * DIM;
  for (int h = 0; h < HEAD_LANES; ++h) {  // past the last head, the last one again
    const size_t at = (size_t)min(head0 + h, HEADS - 1) * DIM;
    for (int d = 0; d < DIM; ++d) query[d * HEAD_LANES + h] = load_act(q, at + d);
    maximum[h] = -INFINITY;
    total[h] = 0.0f;
  }
  for (int i = 0; i < DIM * HEAD_LANES; ++i) acc[i] = 0.0f;

  const int slots = slot_count(&extent, row);
  for (int base = 0; base < slots; base += SLOTS) {
    int order[SLOTS], source[SLOTS], live = 0;
    for (int i = 0; i < min(SLOTS, slots - base); i += 2) {
      for (int odd = 1; odd >= 0; --odd) {
        if (base + i + odd >= slots) continue;
        const int from = slot_row(&extent, row, idx, t, base + i + odd);
        if (from < 0) continue;
        order[live] = i + odd;
        source[live++] = from;
      }
    }
    if (live == 0) continue;

    for (int first = 0; first < live; first += ROW_CHUNK) {
      const int n = min(ROW_CHUNK, live - first);
      for (int r = 0; r < n; ++r) decode_row(row_at(&extent, ring, cache, source[first + r]), rows + r * DIM);
      score_rows(query, rows, order + first, n, scale, scores);
    }
    float rescale[HEAD_LANES], sums[HEAD_LANES];
    for (int h = 0; h < HEAD_LANES; ++h) rescale[h] = maximum[h];
    for (int r = 0; r < live; ++r) {
      for (int h = 0; h < HEAD_LANES; ++h) maximum[h] = em_max(maximum[h], scores[order[r] * HEAD_LANES + h]);
    }
    for (int h = 0; h < HEAD_LANES; ++h) rescale[h] = em_exp(rescale[h] - maximum[h]);
    exponentials(scores, order, live, maximum, sums);
    for (int h = 0; h < HEAD_LANES; ++h) total[h] = total[h] * rescale[h] + sums[h];
    for (int d = 0; d < DIM; ++d) {
      for (int h = 0; h < HEAD_LANES; ++h) acc[d * HEAD_LANES + h] *= rescale[h];
    }
    for (int first = 0; first < live; first += ROW_CHUNK) {
      const int n = min(ROW_CHUNK, live - first);
      if (live > ROW_CHUNK) {
        for (int r = 0; r < n; ++r) decode_row(row_at(&extent, ring, cache, source[first + r]), rows + r * DIM);
      }
      add_values(scores, rows, order + first, n, acc);
    }
  }

  for (int h = 0; h < HEAD_LANES && head0 + h < HEADS; ++h) {
    const float z = total[h] + em_exp(sink[head0 + h] - maximum[h]);
    __global act_t* to = out + ((size_t)t * HEADS + head0 + h) * DIM;
    for (int d = 0; d < DIM; ++d) store_act(to, d, em_div(acc[d * HEAD_LANES + h], z));
  }
}

#else

#define DIMS_PER_ITEM ((DIM + GROUP - 1) / GROUP)

EM_FN float group_max(float v, __local float* fold) {
  fold[LANE] = v;
  for (int half_width = GROUP / 2; half_width > 0; half_width /= 2) {
    SYNC;
    if (LANE < half_width) fold[LANE] = em_max(fold[LANE], fold[LANE + half_width]);
  }
  SYNC;
  const float largest = fold[0];
  SYNC;
  return largest;
}

// Grid (rows, head tiles). A work-item is one slot for the scores, every GROUP-th dimension for the values.
KERNEL void attend(__global const int4* restrict step, __global const act_t* restrict q,
                   __global const uchar* restrict ring, __global const float* restrict sink,
                   __global const uchar* restrict cache, __global const int* restrict idx, __global act_t* restrict out,
                   int window, int ratio, int top_k, int ring_rows, int capacity, float scale) {
  __local float query[HEAD_LANES * DIM], weight[HEAD_LANES * SLOTS], fold[64];
  __local int source[SLOTS];
  const Extent extent = {window, ratio, top_k, ring_rows, capacity};
  const int t = get_group_id(0), head0 = (int)get_group_id(1) * HEAD_LANES;
  const int4 row = step[1 + t];
  ring += (size_t)row.x * ring_rows * ROW_BYTES;
  cache += (size_t)row.x * capacity * ROW_BYTES;
  q += (size_t)t * HEADS * DIM;
  float acc[HEAD_LANES][DIMS_PER_ITEM], maximum[HEAD_LANES], total[HEAD_LANES];
  for (int h = 0; h < HEAD_LANES; ++h) {  // past the last head, the last one again
    const size_t at = (size_t)min(head0 + h, HEADS - 1) * DIM;
    for (int d = LANE; d < DIM; d += GROUP) query[h * DIM + d] = load_act(q, at + d);
    for (int i = 0; i < DIMS_PER_ITEM; ++i) acc[h][i] = 0.0f;
    maximum[h] = -INFINITY;
    total[h] = 0.0f;
  }

  const int slots = slot_count(&extent, row);
  for (int base = 0; base < slots; base += SLOTS) {
    SYNC;
    const int from = base + LANE < slots ? slot_row(&extent, row, idx, t, base + LANE) : -1;
    source[LANE] = from;
    SYNC;

    float s[HEAD_LANES];
    for (int h = 0; h < HEAD_LANES; ++h) s[h] = 0.0f;
    if (from >= 0) {
      __global const uchar* key = row_at(&extent, ring, cache, from);
      for (int block = 0; block < DIM; block += 128) {
        const int end = min(block + 128, DIM);
        float c[HEAD_LANES];
        for (int h = 0; h < HEAD_LANES; ++h) c[h] = 0.0f;
        for (int d = block; d < end; d += 2) {
          if (d + 1 < end) {
            const float odd = row_value(key, d + 1);
            for (int h = 0; h < HEAD_LANES; ++h) c[h] = fma(query[h * DIM + d + 1], odd, c[h]);
          }
          const float even = row_value(key, d);
          for (int h = 0; h < HEAD_LANES; ++h) c[h] = fma(query[h * DIM + d], even, c[h]);
        }
        for (int h = 0; h < HEAD_LANES; ++h) s[h] += c[h];
      }
    }
    for (int h = 0; h < HEAD_LANES; ++h) {  // a block without a live slot changes nothing: it rescales by 1, or zeros
      const float score = from >= 0 ? s[h] * scale : -INFINITY;
      const float larger = em_max(maximum[h], group_max(score, fold));
      const float rescale = em_exp(maximum[h] - larger);
      const float e = from >= 0 ? em_exp(score - larger) : 0.0f;
      weight[h * SLOTS + LANE] = ROUNDS ? em_bf16(e) : e;
      maximum[h] = larger;
      total[h] = total[h] * rescale + fold64(e, fold);
      for (int i = 0; i < DIMS_PER_ITEM; ++i) acc[h][i] *= rescale;
    }
    SYNC;
    for (int slot = 0; slot < SLOTS; ++slot) {
      const int j = slot ^ 1;  // the odd one of a pair first
      if (source[j] < 0) continue;
      __global const uchar* value = row_at(&extent, ring, cache, source[j]);
      for (int i = 0; i < DIMS_PER_ITEM; ++i) {
        const int d = i * GROUP + LANE;
        const float v = d < DIM ? row_value(value, d) : 0.0f;
        for (int h = 0; h < HEAD_LANES; ++h) acc[h][i] = fma(weight[h * SLOTS + j], v, acc[h][i]);
      }
    }
  }

  for (int h = 0; h < HEAD_LANES; ++h) {
    if (head0 + h >= HEADS) break;
    const float z = total[h] + em_exp(sink[head0 + h] - maximum[h]);
    __global act_t* to = out + ((size_t)t * HEADS + head0 + h) * DIM;
    for (int i = 0; i < DIMS_PER_ITEM; ++i) {
      const int d = i * GROUP + LANE;
      if (d < DIM) store_act(to, d, em_div(acc[h][i], z));
    }
  }
}

#endif
