// Products with the chosen experts' weights, on vector lanes. A pick is one (token, expert) pair, numbered token * k +
// s. Options: ACT; those of dot.cl; SORTED for the kernels over tiles of picks that share an expert.
DEFINE_STORE_ROWS(store_rows, ACT)

EM_FN rowf rounded(rowf v) { return ACT_ROUNDS ? round16_bf16(v) : v; }

// Each of em_swiglu(g, u) * weight.
EM_FN rowf activate(rowf g, rowf u, float limit, float weight) {
  float gs[16], us[16];
  vstore16(g, 0, gs);
  vstore16(u, 0, us);
  for (int i = 0; i < 16; ++i) gs[i] = em_swiglu(gs[i], us[i], limit) * weight;
  return vload16(0, gs);
}

#ifdef SORTED
// Tiles of up to TOKEN_TILE picks of one expert, made by moe_sort: {expert, first, count} per tile, then picks in
// expert order.
typedef struct {
  int expert, count;
  int pick[TOKEN_TILE];  // past `count`, the first again
} Tile;

// A tile past the last has no picks; its work-group multiplies nothing. Not returned: there are compilers that cannot
// take a struct so large from a function.
EM_FN void tile_at(__global const int* plan, int max_tiles, int index, Tile* tile) {
  const int exists = index < plan[0];
  __global const int* at = plan + 1 + (exists ? index : 0) * 3;
  __global const int* order = plan + 1 + max_tiles * 3 + at[1];
  tile->expert = at[0];
  tile->count = exists ? at[2] : 0;
  for (int t = 0; t < TOKEN_TILE; ++t) tile->pick[t] = order[t < tile->count ? t : 0];
}
#define TILE_TOKENS tile.count
#else
#define TILE_TOKENS live
#endif
#define TILE_K(k) (TILE_TOKENS > 0 ? (k) : 0)

// y[pick, i] = round(em_swiglu(round(x . gate), round(x . up)) * weights[pick]), of experts [first_expert,
// first_expert + experts). Grid (picks or tiles, row tiles).
KERNEL void moe_gate_up(__global const act_t* restrict x, __global const int* restrict ids,
                        __global const float* restrict weights, __global const uint* restrict gate,
                        __global const uchar* restrict gate_scales, __global const uint* restrict up,
                        __global const uchar* restrict up_scales, __global act_t* restrict y, int k, int d, int inner,
                        float limit, int first_expert, int experts, __global const int* restrict plan, int max_tiles) {
  __local float stage[STAGE_FLOATS] __attribute__((aligned(64)));
#ifdef SORTED
  Tile tile;
  tile_at(plan, max_tiles, get_group_id(0), &tile);
  const int expert = tile.expert;
#else
  const int pick0 = get_group_id(0);
  const int chosen = ids[pick0] - first_expert;
  const int live = chosen >= 0 && chosen < experts;  // a group of none multiplies nothing
  const int expert = live ? chosen : 0;
#endif
  const int first = (int)get_group_id(1) * ROW_TILE;
  size_t x_at[TOKEN_TILE];
  int pick[TOKEN_TILE];
  for (int t = 0; t < TOKEN_TILE; ++t) {
#ifdef SORTED
    pick[t] = tile.pick[t];
#else
    pick[t] = pick0;
#endif
    x_at[t] = (size_t)(pick[t] / k) * d;
  }
  rowf both[2][TOKEN_TILE][ROW_TILE];
#pragma unroll 1
  for (int matrix = 0; matrix < 2; ++matrix) {  // once in the program, which is long
    const Matrix m = matrix_at(matrix == 0 ? gate : up, matrix == 0 ? gate_scales : up_scales, expert, inner, d);
    dot_tile(both[matrix], x, x_at, TILE_TOKENS, TILE_K(d), &m, first, stage);
  }
  for (int i = 0; i < ROW_TILE; ++i) {
    const int group = first + i;
    if (group * 16 >= inner) continue;
    for (int t = 0; t < TOKEN_TILE; ++t) {
      const rowf a = activate(rounded(both[0][t][i]), rounded(both[1][t][i]), limit, weights[pick[t]]);
      if (t < TILE_TOKENS) store_rows(y + (size_t)pick[t] * inner, group * 16, 0, inner, a);
    }
  }
}

#ifdef SORTED
// part[pick, n] = round(x[pick] . down), `parts_at` bytes into `parts`; moe_sum adds them up.
KERNEL void moe_down_parts(__global const act_t* restrict x, __global const uint* restrict down,
                           __global const uchar* restrict scales, __global const int* plan, __global uchar* parts,
                           uint parts_at, int d, int inner, int max_tiles) {
  __local float stage[STAGE_FLOATS] __attribute__((aligned(64)));
  __global act_t* part = (__global act_t*)(parts + parts_at);
  Tile tile;
  tile_at(plan, max_tiles, get_group_id(0), &tile);
  const int first = (int)get_group_id(1) * ROW_TILE;
  size_t x_at[TOKEN_TILE];
  for (int t = 0; t < TOKEN_TILE; ++t) x_at[t] = (size_t)tile.pick[t] * inner;
  rowf v[TOKEN_TILE][ROW_TILE];
  const Matrix m = matrix_at(down, scales, tile.expert, d, inner);
  dot_tile(v, x, x_at, TILE_TOKENS, TILE_K(inner), &m, first, stage);
  for (int i = 0; i < ROW_TILE; ++i) {
    const int group = first + i;
    if (group >= m.groups) continue;
    for (int t = 0; t < TOKEN_TILE; ++t) {
      if (t < tile.count) store_rows(part + (size_t)tile.pick[t] * d, group * 16, 0, d, v[t][i]);
    }
  }
}
#else
// y[t, n] = round((sum over s ascending of round(x[t, s] . down)) + shared[t, n]), rows n of the `tile`-th tile.
EM_FN void moe_down_tile(__global const act_t* x, __global const int* ids, __global const uint* down,
                         __global const uchar* scales, __global const act_t* shared, __global act_t* y, int k, int d,
                         int inner, int token, int tile, __local float* stage) {
  const int live = 1, first = tile * ROW_TILE;
  rowf sum[ROW_TILE];
  for (int i = 0; i < ROW_TILE; ++i) sum[i] = (rowf)0.0f;
  for (int s = 0; s < k; ++s) {
    const int pick = token * k + s;
    const size_t x_at[1] = {(size_t)pick * inner};
    rowf v[TOKEN_TILE][ROW_TILE];
    const Matrix m = matrix_at(down, scales, ids[pick], d, inner);
    dot_tile(v, x, x_at, TILE_TOKENS, TILE_K(inner), &m, first, stage);
    for (int i = 0; i < ROW_TILE; ++i) sum[i] += rounded(v[0][i]);
  }
  for (int i = 0; i < ROW_TILE; ++i) {
    const int group = first + i;
    float each[16];
    vstore16(sum[i], 0, each);
    for (int r = 0, row = group * 16; r < 16; ++r, ++row) {
      const float value = each[r] + load_act(shared, (size_t)token * d + min(row, d - 1));
      if (row < d) store_act(y, (size_t)token * d + row, value);
    }
  }
}

// Grid (tokens, row tiles).
KERNEL void moe_down(__global const act_t* restrict x, __global const int* restrict ids,
                     __global const uint* restrict down, __global const uchar* restrict scales,
                     __global const act_t* restrict shared, __global act_t* restrict y, int k, int d, int inner) {
  __local float stage[STAGE_FLOATS] __attribute__((aligned(64)));
  moe_down_tile(x, ids, down, scales, shared, y, k, d, inner, get_group_id(0), get_group_id(1), stage);
}
#endif
