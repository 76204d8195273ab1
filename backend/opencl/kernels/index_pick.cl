// The choice of the lightning indexer (ops/attention/attention.h: IndexSelect) among its scores. Options: RATIO; TOP_K.
// Rows are taken from `row0` on; scores hold `pitch` floats per row of the launch.

#define DIGIT 8  // bits that are decided at once
#define BINS (1 << DIGIT)
#if VECTOR_LANES
#define ADD(at, n) *(at) += (n)
#else
#define ADD(at, n) \
  if ((n) != 0) atomic_add(at, n)
#endif

#define PARTS 16  // of the bins

// The digit of the smallest chosen score: the largest bin for which it and those above hold `wanted`; wanted - what
// those above hold are still to be chosen within it.
EM_FN void find_bin(__local const int* histogram, __local int* parts, __local uint2* state, uint wanted) {
  SYNC;
  for (int p = LANE; p < PARTS; p += GROUP) {
    parts[p] = 0;
    for (int i = 0; i < BINS / PARTS; ++i) parts[p] += histogram[p * (BINS / PARTS) + i];
  }
  SYNC;
  if (LANE == 0) {
    int part = PARTS - 1;
    for (; part > 0 && (uint)parts[part] < wanted; --part) wanted -= parts[part];
    int bin = (part + 1) * (BINS / PARTS) - 1;
    for (; bin > 0 && (uint)histogram[bin] < wanted; --bin) wanted -= histogram[bin];
    *state = (uint2)((uint)bin, wanted);
  }
  SYNC;
}

// The TOP_K largest, lower index on ties, ascending; -1 after the last. One work-group per row.
KERNEL void index_pick(__global const int4* restrict step, __global const float* restrict scores,
                       __global int* restrict out, int row0, int pitch) {
  __local int histogram[BINS], parts[PARTS];
  __local int2 counts[GROUP];
  __local uint2 state;
  const int t = row0 + (int)get_group_id(0);
  const int n = (step[1 + t].y + 1) / RATIO;
  out += (size_t)t * TOP_K;
  scores += (size_t)get_group_id(0) * pitch;
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
    find_bin(histogram, parts, &state, wanted);
    prefix |= state.x << shift;
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
