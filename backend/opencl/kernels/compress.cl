// Forms the cache entry of every row whose position completes a block (ops/attention/attention.h: CompressPool).
// One work-group per such row. Options: those of row_format.cl; RATIO; OVERLAP; PENDING_ROWS; ROUNDS; HADAMARD; NORM,
// the norm weight's type.

#define PARTS (OVERLAP ? 2 : 1)
#define WIDTH (PARTS * DIM)
#define POOL_ROWS (PARTS * RATIO)
#define load_norm CAT(load_, NORM)

EM_FN float rounded(float v) { return ROUNDS ? em_bf16(v) : v; }

// Values and scores of one pool row, at the channels that count: scores lie WIDTH after values.
EM_FN __global const float* pool_row(__global const float* as, __global const float* pending, int t, int4 row, int i) {
  const int back = POOL_ROWS - 1 - i, q = row.y - back;
  const size_t first = OVERLAP && i >= RATIO ? DIM : 0;
  if (t - back >= row.z) return as + (size_t)(t - back) * 2 * WIDTH + first;
  return pending + ((size_t)row.x * PENDING_ROWS + q % PENDING_ROWS) * 2 * WIDTH + first;
}
EM_FN __global const float* ape_row(__global const float* ape, int4 row, int i) {
  return ape + (row.y - (POOL_ROWS - 1 - i)) % RATIO * WIDTH + (OVERLAP && i >= RATIO ? DIM : 0);
}

// The index-th row of the step whose position completes a block.
EM_FN int completing_row(__global const int4* step, int index) {
  __global const int4* rows = step + 1;
  __global const int4* segment = rows + step[0].x;
  for (;; ++segment) {
    const int first = rows[segment->x].z;
    const int position = rows[first].y, entries = (rows[segment->x].y + 1) / RATIO - position / RATIO;
    if (index < entries) return first + (RATIO - 1 - position % RATIO) + index * RATIO;
    index -= entries;
  }
}

KERNEL void compress_pool(__global const int4* restrict step, __global const float* restrict as,
                          __global const float* restrict pending, __global const float* restrict ape,
                          __global const CAT(NORM, _t) * restrict norm, __global const float* restrict frequency,
                          __global uchar* restrict cache, __global const int* restrict table, int shift, int capacity,
                          int pairs, float eps, float hadamard_scale) {
  __local float fold[64], entry[DIM], top[DIM], sum[DIM];
  const int t = completing_row(step, get_group_id(0));
  const int4 row = step[1 + t];  // slot, position, first, end

  const int begin = OVERLAP && row.y < RATIO ? RATIO : 0;  // the first block has no previous one
  for (int ch = LANE; ch < DIM; ch += GROUP) {
    top[ch] = -INFINITY;
    sum[ch] = 0.0f;
    entry[ch] = 0.0f;
  }
  for (int i = begin; i < POOL_ROWS; ++i) {
    __global const float* restrict from = pool_row(as, pending, t, row, i) + WIDTH;
    __global const float* restrict offset = ape_row(ape, row, i);
    for (int ch = LANE; ch < DIM; ch += GROUP) top[ch] = em_max(from[ch] + offset[ch], top[ch]);
  }
  for (int i = begin; i < POOL_ROWS; ++i) {
    __global const float* restrict from = pool_row(as, pending, t, row, i);
    __global const float* restrict offset = ape_row(ape, row, i);
    for (int ch = LANE; ch < DIM; ch += GROUP) {
      const float e = em_weight((from[WIDTH + ch] + offset[ch]) - top[ch]);
      sum[ch] += e;
      entry[ch] = em_fma(e, from[ch], entry[ch]);
    }
  }
  for (int ch = LANE; ch < DIM; ch += GROUP) entry[ch] = rounded(em_div(entry[ch], sum[ch]));
  SYNC;

  const float r = inverse_rms(entry, DIM, eps, fold);
  for (int ch = LANE; ch < DIM; ch += GROUP) entry[ch] = rounded((entry[ch] * r) * load_norm(norm, ch));
  SYNC;
  rotate(entry + (DIM - 2 * pairs), pairs, frequency, row.y / RATIO * RATIO);
#if HADAMARD
  for (int ch = LANE; ch < DIM; ch += GROUP) entry[ch] = rounded(entry[ch]);
  SYNC;
  hadamard(entry, DIM, hadamard_scale);
#endif
  for (int ch = LANE; ch < DIM; ch += GROUP) entry[ch] = rounded(entry[ch]);
  SYNC;
  const Entries entries = {table, shift, capacity, row.x};
  encode_row(entry, cache + entry_at(&entries, row.y / RATIO));
}
