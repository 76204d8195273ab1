// The lightning indexer (ops/attention/attention.h: IndexSelect). Options: ACT; those of row_format.cl; RATIO; TOP_K;
// HEADS; ROUNDS. Rows are taken from `row0` on; scores hold `capacity` floats per row of the launch.

#if VECTOR_LANES
typedef float16 keyf;  // 16 keys abreast
#define KEYS 16
#define round_key round16_bf16
#else
typedef float keyf;                    // one key per work-item
#define KEYS 1
#define round_key em_bf16
#endif

EM_FN keyf rounded(keyf v) { return ROUNDS ? round_key(v) : v; }

#define HEAD_CHUNK 8  // heads whose queries are held, and whose products are formed, side by side

#if VECTOR_LANES
typedef __local const float query_t;  // staged as floats
#define QUERY(h, d) query[(h)*DIM + (d)]
#else
typedef __global const act_t query_t;  // the same for every work-item: a broadcast from the cache
#define QUERY(h, d) load_act(query, min(h, heads - 1) * DIM + (d))
#endif

#define CHAIN 16  // elements of one chain; two make a block of dot (exact_math.h)

// c[h] = the chain of query h of the chunk times key over elements from `begin` on.
EM_FN void product_chain(const keyf key[DIM], query_t* query, int heads, int begin, keyf c[HEAD_CHUNK]) {
#pragma unroll
  for (int h = 0; h < HEAD_CHUNK; ++h) c[h] = 0.0f;
#pragma unroll 2
  for (int d = begin; d < min(begin + CHAIN, DIM); ++d) {
#pragma unroll
    for (int h = 0; h < HEAD_CHUNK; ++h) c[h] = fma((keyf)QUERY(h, d), key[d], c[h]);
  }
}

// products[i] = dot(query i of the chunk, key); `query` is [heads][DIM], heads <= HEAD_CHUNK.
EM_FN void chunk_products(const keyf key[DIM], query_t* query, int heads, keyf products[HEAD_CHUNK]) {
#pragma unroll
  for (int h = 0; h < HEAD_CHUNK; ++h) products[h] = 0.0f;
  for (int block = 0; block < DIM; block += 2 * CHAIN) {
    keyf e[HEAD_CHUNK], o[HEAD_CHUNK];
    product_chain(key, query, heads, block, e);
    product_chain(key, query, heads, block + CHAIN, o);
#pragma unroll
    for (int h = 0; h < HEAD_CHUNK; ++h) products[h] += e[h] + o[h];
  }
}

// scores[row, j] for keys j < n = (position + 1) / RATIO, where n > TOP_K. Grid (tiles of GROUP * KEYS keys, rows).
KERNEL void index_scores(__global const int4* restrict step, __global const act_t* restrict q,
                         __global const act_t* restrict g, __global const uchar* restrict cache,
                         __global float* restrict scores, int row0, int capacity, float weight_scale) {
  const int t = row0 + (int)get_group_id(1);
  const int4 row = step[1 + t];
  const int n = (row.y + 1) / RATIO;
  const int first = ((int)get_group_id(0) * GROUP + LANE) * KEYS;
  if (n <= TOP_K || (int)get_group_id(0) * GROUP * KEYS >= n) return;
  q += (size_t)t * HEADS * DIM;
  g += (size_t)t * HEADS;

  cache += (size_t)row.x * capacity * ROW_BYTES;
  keyf key[DIM];  // past the last key, the last one again
#if VECTOR_LANES
  __local float rows[KEYS * DIM], query[HEAD_CHUNK * DIM];
  for (int l = 0; l < KEYS; ++l) decode_row(cache + (size_t)min(first + l, n - 1) * ROW_BYTES, rows + l * DIM);
  for (int d = 0; d < DIM; ++d) {
    key[d] =
        (float16)(rows[d], rows[DIM + d], rows[2 * DIM + d], rows[3 * DIM + d], rows[4 * DIM + d], rows[5 * DIM + d],
                  rows[6 * DIM + d], rows[7 * DIM + d], rows[8 * DIM + d], rows[9 * DIM + d], rows[10 * DIM + d],
                  rows[11 * DIM + d], rows[12 * DIM + d], rows[13 * DIM + d], rows[14 * DIM + d], rows[15 * DIM + d]);
  }
#else
  for (int d = 0; d < DIM; ++d) key[d] = row_value(cache + (size_t)min(first, n - 1) * ROW_BYTES, d);
#endif

  keyf sum = 0.0f;
  for (int h0 = 0; h0 < HEADS; h0 += HEAD_CHUNK) {
    const int heads = min(HEAD_CHUNK, HEADS - h0);
    keyf products[HEAD_CHUNK];
#if VECTOR_LANES
    for (int i = 0; i < heads * DIM; ++i) query[i] = load_act(q, (size_t)h0 * DIM + i);
    chunk_products(key, query, heads, products);
#else
    chunk_products(key, q + (size_t)h0 * DIM, heads, products);
#endif
    for (int h = 0; h < heads; ++h) {
      const keyf dot = rounded(products[h]);
      const keyf positive = dot < 0.0f ? 0.0f : dot;
      const float weight = load_act(g, h0 + h) * weight_scale;
      sum = ROUNDS ? sum + rounded(em_bf16(weight) * positive) : fma((keyf)weight, positive, sum);
    }
  }
  sum = rounded(sum);
  scores += (size_t)get_group_id(1) * capacity + first;
#if VECTOR_LANES
  if (first + KEYS <= n) {
    vstore16(sum, 0, scores);
  } else {
    float each[KEYS];
    vstore16(sum, 0, each);
    for (int l = 0; first + l < n; ++l) scores[l] = each[l];
  }
#else
  if (first < n) *scores = sum;
#endif
}

// How many work-items before this one, and in all, have `flag` set.
EM_FN int2 count_flags(int flag, __local int* lanes) {
#if VECTOR_LANES
  return (int2)(0, flag);
#else
  lanes[LANE] = flag;
  SYNC;
  int2 count = (int2)(0, 0);
  for (int l = 0; l < GROUP; ++l) {
    if (l < LANE) count.x += lanes[l];
    count.y += lanes[l];
  }
  SYNC;
  return count;
#endif
}

// The TOP_K largest, lower index on ties, ascending; -1 after the last. One work-group per row.
KERNEL void index_pick(__global const int4* restrict step, __global const float* restrict scores,
                       __global int* restrict out, int row0, int capacity) {
  __local int histogram[256], lanes[GROUP];
  __local uint2 state;  // prefix of the smallest chosen score's bits, how many are chosen among its equals
  const int t = row0 + (int)get_group_id(0);
  const int n = (step[1 + t].y + 1) / RATIO;
  const int all = n <= TOP_K;  // then there are no scores
  out += (size_t)t * TOP_K;
  scores += (size_t)get_group_id(0) * capacity;

  // Radix selection, 8 bits at a time from the top.
  uint prefix = 0, wanted = TOP_K;
  for (int shift = all ? -8 : 24; shift >= 0; shift -= 8) {
    for (int i = LANE; i < 256; i += GROUP) histogram[i] = 0;
    SYNC;
    for (int j = LANE; j < n; j += GROUP) {
      const uint bits = em_order(scores[j]);
      if ((bits ^ prefix) >> shift >> 8 == 0) {  // the bits above are those of the prefix
#if VECTOR_LANES
        histogram[(bits >> shift) & 255u] += 1;
#else
        atomic_inc(&histogram[(bits >> shift) & 255u]);
#endif
      }
    }
    SYNC;
    if (LANE == 0) {
      int bin = 255;
      for (; bin > 0 && (uint)histogram[bin] < wanted; --bin) wanted -= histogram[bin];
      state = (uint2)(prefix | ((uint)bin << shift), wanted);
    }
    SYNC;
    prefix = state.x;
    wanted = state.y;
    SYNC;
  }

  // In index order: every score above the smallest chosen, and the first `wanted` equal to it.
  int written = 0, equals = 0;
  for (int j0 = 0; j0 < n; j0 += GROUP) {
    const int j = j0 + LANE;
    const uint bits = em_order(scores[min(j, n - 1)]);
    const int equal = j < n && bits == prefix;
    const int2 same = count_flags(equal, lanes);
    const int chosen = j < n && (all || bits > prefix || (equal && equals + same.x < (int)wanted));
    const int2 place = count_flags(chosen, lanes);
    if (chosen && written + place.x < TOP_K) out[written + place.x] = j;
    written += place.y;
    equals += same.y;
  }
  for (int i = written + LANE; i < TOP_K; i += GROUP) out[i] = -1;
}
