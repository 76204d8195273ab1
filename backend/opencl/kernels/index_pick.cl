// The choice of the lightning indexer (ops/attention/attention.h: IndexSelect) among its scores. Options: RATIO; TOP_K.
// Rows are taken from `row0` on; scores hold `capacity` floats per row of the launch.

#define DIGIT 8  // bits that are decided at once
#define BINS (1 << DIGIT)
#if VECTOR_LANES
#define ADD(at, n) *(at) += (n)
#else
#define ADD(at, n) \
  if ((n) != 0) atomic_add(at, n)
#endif

// The digit of the chosen scores' smallest: the largest bin at and above which there are `wanted`; `wanted` becomes what
// is still to be chosen within it.
EM_FN int find_bin(__local int* histogram, __local uint2* state, uint wanted) {
#if GROUP >= BINS
  for (int step = 1; step < BINS; step *= 2) {  // of each bin, what it and those above it hold
    SYNC;
    const int above = LANE + step < BINS ? histogram[LANE + step] : 0;
    SYNC;
    if (LANE < BINS) histogram[LANE] += above;
  }
  SYNC;
  if (LANE < BINS) {
    const uint above = LANE + 1 < BINS ? (uint)histogram[LANE + 1] : 0u;
    if (above < wanted && (uint)histogram[LANE] >= wanted) *state = (uint2)((uint)LANE, wanted - above);
  }
#else
  SYNC;
  if (LANE == 0) {
    int bin = BINS - 1;
    for (; bin > 0 && (uint)histogram[bin] < wanted; --bin) wanted -= histogram[bin];
    *state = (uint2)((uint)bin, wanted);
  }
#endif
  SYNC;
  return (int)state->x;
}

// The TOP_K largest, lower index on ties, ascending; -1 after the last. One work-group per row.
KERNEL void index_pick(__global const int4* restrict step, __global const float* restrict scores,
                       __global int* restrict out, int row0, int capacity) {
  __local int histogram[BINS];
  __local int2 counts[GROUP];
  __local uint2 state;
  const int t = row0 + (int)get_group_id(0);
  const int n = (step[1 + t].y + 1) / RATIO;
  out += (size_t)t * TOP_K;
  scores += (size_t)get_group_id(0) * capacity;
  if (n <= TOP_K) {  // then there are no scores
    for (int i = LANE; i < TOP_K; i += GROUP) out[i] = i < n ? i : -1;
    return;
  }

  // Radix selection from the top: the bits of the smallest chosen score, and how many are chosen among its equals.
  uint prefix = 0, wanted = TOP_K;
  for (int shift = 32 - DIGIT; shift >= 0; shift -= DIGIT) {
    for (int i = LANE; i < BINS; i += GROUP) histogram[i] = 0;
    SYNC;
    int bin = 0, run = 0;  // scores that follow each other often share a bin: those of a run are added at once
#pragma unroll 4
    for (int j = LANE; j < n; j += GROUP) {
      const uint bits = em_order(scores[j]);
      if ((bits ^ prefix) >> shift >> DIGIT != 0) continue;  // the bits above are not those of the prefix
      const int next = (int)(bits >> shift) & (BINS - 1);
      if (next != bin) {
        ADD(&histogram[bin], run);
        bin = next;
        run = 0;
      }
      ++run;
    }
    ADD(&histogram[bin], run);
    prefix |= (uint)find_bin(histogram, &state, wanted) << shift;
    wanted = state.y;
    SYNC;
  }

  // Every score above the smallest chosen, and the first `wanted` equal to it. Work-items look at stretches that follow
  // each other: what was chosen before a stretch is the sum of what those before it hold.
  const int stretch = (n + GROUP - 1) / GROUP, begin = min(LANE * stretch, n), end = min(begin + stretch, n);
  int2 mine = (int2)(0, 0);  // above, equal
#pragma unroll 4
  for (int j = begin; j < end; ++j) {
    const uint bits = em_order(scores[j]);
    mine += (int2)(bits > prefix, bits == prefix);
  }
  counts[LANE] = mine;
  for (int step_ = 1; step_ < GROUP; step_ *= 2) {
    SYNC;
    const int2 before = LANE >= step_ ? counts[LANE - step_] : (int2)(0, 0);
    SYNC;
    counts[LANE] += before;
  }
  SYNC;
  int equals = counts[LANE].y - mine.y, written = counts[LANE].x - mine.x + min(equals, (int)wanted);
  for (int j = begin; j < end; ++j) {
    const uint bits = em_order(scores[j]);
    if (bits > prefix || (bits == prefix && equals++ < (int)wanted)) out[written++] = j;
  }
}
