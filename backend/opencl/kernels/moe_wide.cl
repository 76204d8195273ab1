// Products with the chosen experts' weights, on work-items. A pick is one (token, expert) pair, numbered token * k + s.
// Options: ACT; those of wide_dot.cl.

#ifdef ABREAST

// y[pick, i] = round(gated(round(x . gate), round(x . up)) * weights[pick]), of experts [first_expert, first_expert +
// experts). Grid (picks, row groups / GROUPS_ABREAST).
KERNEL void moe_gate_up(__global const act_t* restrict x, __global const int* restrict ids,
                        __global const float* restrict weights, __global const uint* restrict gate,
                        __global const uchar* restrict gate_scales, __global const uint* restrict up,
                        __global const uchar* restrict up_scales, __global act_t* restrict y, int k, int d, int inner,
                        float limit, int first_expert, int experts, __global const int* restrict plan, int max_tiles) {
  __local float sums[SUMS] __attribute__((aligned(16)));
  const int pick = get_group_id(0), expert = ids[pick] - first_expert;
  if (expert < 0 || expert >= experts) return;
  const int group = (int)get_group_id(1) * GROUPS_ABREAST;
  int turn = 0;
  Matrix m = matrix_at(gate, gate_scales, expert, inner, d);
  const float g = dot_rows(x + (size_t)(pick / k) * d, d, &m, group, sums, &turn);
  m = matrix_at(up, up_scales, expert, inner, d);
  const float u = dot_rows(x + (size_t)(pick / k) * d, d, &m, group, sums, &turn);
  const int row = group * 16 + LANE;
  if (LANE < 16 * GROUPS_ABREAST && row < inner) {
    store_act(y, (size_t)pick * inner + row, gated(round_act(g), round_act(u), limit) * weights[pick]);
  }
}

// y[t, n] = round((sum over s ascending of round(x[t, s] . down)) + shared[t, n]). Grid (tokens, row groups /
// GROUPS_ABREAST).
KERNEL void moe_down(__global const act_t* restrict x, __global const int* restrict ids,
                     __global const uint* restrict down, __global const uchar* restrict scales,
                     __global const act_t* restrict shared, __global act_t* restrict y, int k, int d, int inner) {
  __local float sums[SUMS] __attribute__((aligned(16)));
  const int token = get_group_id(0), group = (int)get_group_id(1) * GROUPS_ABREAST;
  int turn = 0;
  float sum = 0.0f;
  for (int pick = token * k; pick < token * k + k; ++pick) {
    const Matrix m = matrix_at(down, scales, ids[pick], d, inner);
    sum += round_act(dot_rows(x + (size_t)pick * inner, inner, &m, group, sums, &turn));
  }
  const int row = group * 16 + LANE;
  if (LANE < 16 * GROUPS_ABREAST && row < d) {
    store_act(y, (size_t)token * d + row, sum + load_act(shared, (size_t)token * d + row));
  }
}

#else

DEFINE_STORE_ROWS(store_rows, ACT)

// Tiles of up to TILE_TOKENS picks of one expert, made by moe_sort: {expert, first, count} per tile, then picks in
// expert order. Kernels return where there is no such tile.
#define TILE_OF(plan, max_tiles)                           \
  const int tile = get_group_id(0);                        \
  if (tile >= plan[0]) return;                             \
  __global const int* const tile_at = plan + 1 + tile * 3; \
  const int expert = tile_at[0], count = tile_at[2];       \
  __global const int* const picks = plan + 1 + max_tiles * 3 + tile_at[1]
#define MY_PICK picks[min(LANE % TILE_TOKENS, count - 1)]  // whose row a work-item brings

// As above; grid (tiles, row tiles).
KERNEL void moe_gate_up(__global const act_t* restrict x, __global const int* restrict ids,
                        __global const float* restrict weights, __global const uint* restrict gate,
                        __global const uchar* restrict gate_scales, __global const uint* restrict up,
                        __global const uchar* restrict up_scales, __global act_t* restrict y, int k, int d, int inner,
                        float limit, int first_expert, int experts, __global const int* restrict plan, int max_tiles) {
  __local float stage[STAGE_FLOATS] __attribute__((aligned(16)));
  TILE_OF(plan, max_tiles);
  const int first = (int)get_group_id(1) * TILE_ROWS;
  rowf g[QUADS][4], u[QUADS][4];
  Matrix m = matrix_at(gate, gate_scales, expert, inner, d);
  dot_tile(g, x + (size_t)(MY_PICK / k) * d, count, d, &m, first, stage);
  m = matrix_at(up, up_scales, expert, inner, d);
  dot_tile(u, x + (size_t)(MY_PICK / k) * d, count, d, &m, first, stage);
  for (int t = 0; t < 4 && ITEM_TOKEN + t < count; ++t) {
    const int pick = picks[ITEM_TOKEN + t];
    const float weight = weights[pick];
#pragma unroll
    for (int q = 0; q < QUADS; ++q) {
      const float gs[4] = {g[q][t].x, g[q][t].y, g[q][t].z, g[q][t].w};
      const float us[4] = {u[q][t].x, u[q][t].y, u[q][t].z, u[q][t].w};
      float a[4];
#pragma unroll
      for (int r = 0; r < 4; ++r) a[r] = gated(round_act(gs[r]), round_act(us[r]), limit) * weight;
      store_rows(y + (size_t)pick * inner, first + ITEM_ROW(q), 0, inner, vload4(0, a));
    }
  }
}

// part[pick, n] = round(x[pick] . down), `parts_at` bytes into `parts`; moe_sum adds them up. Grid (tiles, row tiles).
KERNEL void moe_down_parts(__global const act_t* restrict x, __global const uint* restrict down,
                           __global const uchar* restrict scales, __global const int* plan, __global uchar* parts,
                           uint parts_at, int d, int inner, int max_tiles) {
  __local float stage[STAGE_FLOATS] __attribute__((aligned(16)));
  __global act_t* part = (__global act_t*)(parts + parts_at);
  TILE_OF(plan, max_tiles);
  const int first = (int)get_group_id(1) * TILE_ROWS;
  const Matrix m = matrix_at(down, scales, expert, d, inner);
  rowf v[QUADS][4];
  dot_tile(v, x + (size_t)MY_PICK * inner, count, inner, &m, first, stage);
  for (int t = 0; t < 4 && ITEM_TOKEN + t < count; ++t) {
    const size_t pick = picks[ITEM_TOKEN + t];
#pragma unroll
    for (int q = 0; q < QUADS; ++q) store_rows(part + pick * d, first + ITEM_ROW(q), 0, d, v[q][t]);
  }
}

#endif
