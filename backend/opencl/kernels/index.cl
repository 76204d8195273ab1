// Scores of the lightning indexer (ops/attention/attention.h: IndexSelect), on vector lanes. Options: ACT; those of
// row_format.cl; RATIO; TOP_K; HEADS; ROUNDS. Rows are taken from `row0` on; scores hold `pitch` floats per row of
// the launch.

typedef float16 keyf;  // 16 keys abreast
#define KEYS 16

EM_FN keyf rounded(keyf v) { return ROUNDS ? round16_bf16(v) : v; }

#define HEAD_CHUNK 8  // heads whose queries are held, and whose products are formed, side by side

#define CHAIN 16  // elements of one chain; two make a block of dot (exact_math.h)

// c[h] = the chain of query h of the chunk times key over elements from `begin` on.
EM_FN void product_chain(const keyf key[DIM], __local const float* query, int begin, keyf c[HEAD_CHUNK]) {
#pragma unroll
  for (int h = 0; h < HEAD_CHUNK; ++h) c[h] = 0.0f;
#pragma unroll 2
  for (int d = begin; d < min(begin + CHAIN, DIM); ++d) {
#pragma unroll
    for (int h = 0; h < HEAD_CHUNK; ++h) c[h] = em_fma((keyf)query[h * DIM + d], key[d], c[h]);
  }
}

// products[i] = dot(query i of the chunk, key); `query` is [heads][DIM], heads <= HEAD_CHUNK.
EM_FN void chunk_products(const keyf key[DIM], __local const float* query, keyf products[HEAD_CHUNK]) {
#pragma unroll
  for (int h = 0; h < HEAD_CHUNK; ++h) products[h] = 0.0f;
  for (int block = 0; block < DIM; block += 2 * CHAIN) {
    keyf e[HEAD_CHUNK], o[HEAD_CHUNK];
    product_chain(key, query, block, e);
    product_chain(key, query, block + CHAIN, o);
#pragma unroll
    for (int h = 0; h < HEAD_CHUNK; ++h) products[h] += e[h] + o[h];
  }
}

// scores[row, j] for keys j < n = (position + 1) / RATIO, where n > TOP_K. Grid (tiles of KEYS keys, rows).
KERNEL void index_scores(__global const int4* restrict step, __global const act_t* restrict q,
                         __global const act_t* restrict g, __global const uchar* restrict cache,
                         __global const int* restrict table, int shift, int capacity, __global float* restrict scores,
                         int row0, int pitch, float weight_scale) {
  const int t = row0 + (int)get_group_id(1);
  const int4 row = step[1 + t];
  const int n = (row.y + 1) / RATIO;
  const int first = (int)get_group_id(0) * KEYS;
  if (n <= TOP_K || first >= n) return;
  q += (size_t)t * HEADS * DIM;
  g += (size_t)t * HEADS;

  const Entries entries = {table, shift, capacity, row.x};
  keyf key[DIM];  // past the last key, the last one again
  __local float rows[KEYS * DIM], query[HEAD_CHUNK * DIM];
  for (int l = 0; l < KEYS; ++l) decode_row(cache + entry_at(&entries, min(first + l, n - 1)), rows + l * DIM);
  for (int d = 0; d < DIM; ++d) {
    key[d] =
        (float16)(rows[d], rows[DIM + d], rows[2 * DIM + d], rows[3 * DIM + d], rows[4 * DIM + d], rows[5 * DIM + d],
                  rows[6 * DIM + d], rows[7 * DIM + d], rows[8 * DIM + d], rows[9 * DIM + d], rows[10 * DIM + d],
                  rows[11 * DIM + d], rows[12 * DIM + d], rows[13 * DIM + d], rows[14 * DIM + d], rows[15 * DIM + d]);
  }

  keyf sum = 0.0f;
  for (int h0 = 0; h0 < HEADS; h0 += HEAD_CHUNK) {
    const int heads = min(HEAD_CHUNK, HEADS - h0);
    keyf products[HEAD_CHUNK];
    for (int i = 0; i < heads * DIM; ++i) query[i] = load_act(q, (size_t)h0 * DIM + i);
    chunk_products(key, query, products);
    for (int h = 0; h < heads; ++h) {
      const keyf dot = rounded(products[h]);
      const keyf positive = dot < 0.0f ? 0.0f : dot;
      const float weight = load_act(g, h0 + h) * weight_scale;
      sum = ROUNDS ? sum + rounded(em_bf16(weight) * positive) : em_fma((keyf)weight, positive, sum);
    }
  }
  sum = rounded(sum);
  scores += (size_t)get_group_id(1) * pitch + first;
  if (first + KEYS <= n) {
    vstore16(sum, 0, scores);
  } else {
    float each[KEYS];
    vstore16(sum, 0, each);
    for (int l = 0; first + l < n; ++l) scores[l] = each[l];
  }
}
