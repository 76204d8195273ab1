// Forms the cache entry of a row whose position completes a block (ops/attention/attention.h: CompressPool). Options:
// those of row_format.cl; RATIO; OVERLAP; PENDING_ROWS; ROUNDS; HADAMARD; NORM, the norm weight's type.

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

// `shared`: 64 + 3 * DIM floats.
EM_FN void compress_pool_row(__global const int4* restrict step, __global const float* restrict as,
                             __global const float* restrict pending, __global const float* restrict ape,
                             __global const CAT(NORM, _t) * restrict norm, __global const float* restrict frequency,
                             __global uchar* restrict cache, __global const int* restrict table, int shift,
                             int capacity, int pairs, float eps, float hadamard_scale, size_t index,
                             __local float* shared) {
  __local float *fold = shared, *entry = fold + 64, *top = entry + DIM, *sum = top + DIM;
  const int t = (int)index;
  const int4 row = step[1 + t];  // slot, position, first, end
  if ((row.y + 1) % RATIO == 0) {
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
    SYNC_ALL;
  }
  SYNC_ALL;
}
