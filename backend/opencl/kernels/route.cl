// The router, and the order in which its choices are worked off.

// The chosen experts in ascending order and their weights: s[e] / (sum of the chosen s in that order) * scale. `sum` is
// volatile, for a compiler was seen to add in another order, and local, where that takes no private memory.
EM_FN void write_weights(__global const int* ids, __global float* weights, __local const float* s,
                         __local volatile float* sum, int k, float scale) {
  *sum = 0.0f;
  for (int i = 0; i < k; ++i) *sum += s[ids[i]];
  for (int i = 0; i < k; ++i) weights[i] = em_flush(em_div(s[ids[i]], *sum)) * scale;
}

// The k largest of s + bias, s = em_sqrt(em_softplus(z)), lower index on ties. `shared`: 3 * EXPERTS + 1 floats.
// Option: EXPERTS.
#ifdef EXPERTS
EM_FN void route_topk_row(__global const float* restrict z, __global const float* restrict bias, __global int* ids,
                          __global float* restrict weights, int k, float scale, size_t row, __local float* shared) {
  __local float *s = shared, *sum = s + EXPERTS;
  __local uint* key = (__local uint*)(sum + 1);
  __local int* chosen = (__local int*)(key + EXPERTS);
  z += row * EXPERTS;
  ids += row * k;
  for (int e = LANE; e < EXPERTS; e += GROUP) {
    s[e] = em_sqrt(em_softplus(z[e]));
    key[e] = em_order(s[e] + bias[e]);
  }
  SYNC;
  for (int e = LANE; e < EXPERTS; e += GROUP) {
    int better = 0;
    for (int other = 0; other < e; ++other) better += key[other] >= key[e];
    for (int other = e + 1; other < EXPERTS; ++other) better += key[other] > key[e];
    chosen[e] = better < k;
  }
  SYNC;
  if (LANE != 0) return;
  int n = 0;
  for (int e = 0; e < EXPERTS; ++e) {
    if (chosen[e] && n < k) ids[n++] = e;
  }
  write_weights(ids, weights + row * k, s, sum, k, scale);
}

// ids = table[token], sorted. `shared`: EXPERTS + 1 floats.
EM_FN void route_hash_row(__global const float* restrict z, __global const int* restrict table,
                          __global const int* restrict tokens, __global int* ids, __global float* restrict weights,
                          int k, float scale, size_t row, __local float* shared) {
  __local float *s = shared, *sum = s + EXPERTS;
  z += row * EXPERTS;
  ids += row * k;
  table += (size_t)tokens[row] * k;
  for (int e = LANE; e < EXPERTS; e += GROUP) s[e] = em_sqrt(em_softplus(z[e]));
  SYNC;
  if (LANE != 0) return;
  for (int i = 0; i < k; ++i) {  // insertion sort
    const int expert = table[i];
    int at = i;
    for (; at > 0 && ids[at - 1] > expert; --at) ids[at] = ids[at - 1];
    ids[at] = expert;
  }
  write_weights(ids, weights + row * k, s, sum, k, scale);
}
#else

#ifdef SORTED_EXPERTS

// Picks of experts [first_expert, first_expert + experts) in expert order, cut into tiles of up to `tile` picks of one
// expert. One work-group; `plan` holds {n_tiles}, {expert - first_expert, first, count} of each of `max_tiles`, and the
// order of the picks; those of one expert are in any order, for none reads another's results.
// Option: SORTED_EXPERTS, at least `experts`.
KERNEL void moe_sort(__global const int* restrict ids, __global int* plan, int picks, int first_expert, int experts,
                     int tile, int max_tiles) {
  __local int count[SORTED_EXPERTS], next[SORTED_EXPERTS], tiles_before[SORTED_EXPERTS];
  __global int* order = plan + 1 + max_tiles * 3;
  for (int e = LANE; e < experts; e += GROUP) count[e] = 0;
  SYNC;
  for (int p = LANE; p < picks; p += GROUP) {
    const int e = ids[p] - first_expert;
    if (e >= 0 && e < experts) atomic_inc(&count[e]);
  }
  SYNC;
  if (LANE == 0) {
    int first = 0, n_tiles = 0;
    for (int e = 0; e < experts; ++e) {
      next[e] = first;
      tiles_before[e] = n_tiles;
      first += count[e];
      n_tiles += (count[e] + tile - 1) / tile;
    }
    plan[0] = n_tiles;
  }
  SYNC;
  for (int e = LANE; e < experts; e += GROUP) {
    for (int done = 0, at = tiles_before[e]; done < count[e]; done += tile, ++at) {
      plan[1 + at * 3] = e;
      plan[2 + at * 3] = next[e] + done;
      plan[3 + at * 3] = min(tile, count[e] - done);
    }
  }
  SYNC;
  for (int p = LANE; p < picks; p += GROUP) {
    const int e = ids[p] - first_expert;
    if (e >= 0 && e < experts) order[atomic_inc(&next[e])] = p;
  }
}

#endif

// y[t, n] = round((sum over s ascending of part[t, s, n]) + shared[t, n]), `parts_at` bytes into `parts`.
// Grid (column tiles, rows).
KERNEL void moe_sum(__global const uchar* restrict parts, uint parts_at, __global const act_t* restrict shared,
                    __global act_t* restrict y, int k, int d) {
  const size_t row = get_group_id(1);
  __global const act_t* part = (__global const act_t*)(parts + parts_at) + row * k * d;
  FOR_COLUMNS(n, d) {
    float sum = 0.0f;
    for (int s = 0; s < k; ++s) sum += load_act(part, (size_t)s * d + n);
    store_act(y, row * d + n, sum + load_act(shared, row * d + n));
  }
}
#endif
