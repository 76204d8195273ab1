// Products with the chosen experts' weights, on work-items. A pick is one (token, expert) pair, numbered token * k + s.
// Options: ACT; those of wide_dot.cl.

#ifdef ABREAST

// y[pick, i] = round(em_swiglu(round(x . gate), round(x . up)) * weights[pick]), of experts [first_expert,
// first_expert + experts). Grid (picks, row groups / GROUPS_ABREAST).
KERNEL void moe_gate_up(__global const act_t* restrict x, __global const int* restrict ids,
                        __global const float* restrict weights, __global const uint* restrict gate,
                        __global const uchar* restrict gate_scales, __global const uint* restrict up,
                        __global const uchar* restrict up_scales, __global act_t* restrict y, int k, int d, int inner,
                        float limit, int first_expert, int experts, __global const int* restrict plan, int max_tiles) {
  __local float sums[SUMS] __attribute__((aligned(16)));
  const int pick = get_group_id(0), expert = ids[pick] - first_expert, here = expert >= 0 && expert < experts;
  const int group = (int)get_group_id(1) * GROUPS_ABREAST;
  int turn = 0;
  float g, u = 0.0f;
#pragma unroll 1
  for (int matrix = 0; matrix < (here ? 2 : 0); ++matrix) {  // once in the program, which is long
    const Matrix m = matrix_at(matrix == 0 ? gate : up, matrix == 0 ? gate_scales : up_scales, expert, inner, d);
    g = u;
    u = dot_rows(x + (size_t)(pick / k) * d, d, &m, group, sums, &turn);
  }
  const int row = group * 16 + LANE;
  if (here && LANE < 16 * GROUPS_ABREAST && row < inner) {
    store_act(y, (size_t)pick * inner + row, em_swiglu(round_act(g), round_act(u), limit) * weights[pick]);
  }
}

// y[t, n] = round((sum over s ascending of round(x[t, s] . down)) + shared[t, n]), rows n of the `tile`-th tile.
EM_FN void moe_down_tile(__global const act_t* x, __global const int* ids, __global const uint* down,
                         __global const uchar* scales, __global const act_t* shared, __global act_t* y, int k, int d,
                         int inner, int token, int tile, __local float* sums) {
  const int group = tile * GROUPS_ABREAST;
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

// Grid (tokens, row groups / GROUPS_ABREAST).
KERNEL void moe_down(__global const act_t* restrict x, __global const int* restrict ids,
                     __global const uint* restrict down, __global const uchar* restrict scales,
                     __global const act_t* restrict shared, __global act_t* restrict y, int k, int d, int inner) {
  __local float sums[SUMS] __attribute__((aligned(16)));
  moe_down_tile(x, ids, down, scales, shared, y, k, d, inner, get_group_id(0), get_group_id(1), sums);
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

// y[pick, row] = v of each pick and row of a work-item, rows of n.
#define STORE_TILE(y, n)                                                                                    \
  _Pragma("unroll") for (int t = 0; t < 4; ++t) {                                                           \
    if (ITEM_TOKEN + t < count) {                                                                           \
      __global act_t* const to = y + (size_t)picks[ITEM_TOKEN + t] * n;                                     \
      _Pragma("unroll") for (int q = 0; q < QUADS; ++q) store_rows(to, first + ITEM_ROW(q), 0, n, v[q][t]); \
    }                                                                                                       \
  }

// v = em_swiglu(y[pick, row], v) * weights[pick].
#define GATE_TILE(y, n)                                                                                             \
  _Pragma("unroll") for (int t = 0; t < 4; ++t) {                                                                   \
    const int pick = picks[min(ITEM_TOKEN + t, count - 1)];                                                         \
    __global const act_t* const g = y + (size_t)pick * n;                                                           \
    _Pragma("unroll") for (int q = 0; q < QUADS; ++q) {                                                             \
      float a[4];                                                                                                   \
      vstore4(v[q][t], 0, a);                                                                                       \
      _Pragma("unroll") for (int r = 0; r < 4; ++r) {                                                               \
        a[r] = em_swiglu(load_act(g, min(first + ITEM_ROW(q) + r, n - 1)), round_act(a[r]), limit) * weights[pick]; \
      }                                                                                                             \
      v[q][t] = vload4(0, a);                                                                                       \
    }                                                                                                               \
  }

// As above; grid (tiles, row tiles).
KERNEL void moe_gate_up(__global const act_t* restrict x, __global const int* restrict ids,
                        __global const float* restrict weights, __global const uint* restrict gate,
                        __global const uchar* restrict gate_scales, __global const uint* restrict up,
                        __global const uchar* restrict up_scales, __global act_t* restrict y, int k, int d, int inner,
                        float limit, int first_expert, int experts, __global const int* restrict plan, int max_tiles) {
  __local float stage[STAGE_FLOATS] __attribute__((aligned(16)));
  TILE_OF(plan, max_tiles);
  const int first = (int)get_group_id(1) * TILE_ROWS;
  rowf v[QUADS][4];
#pragma unroll 1
  for (int matrix = 0; matrix < 2; ++matrix) {
    const Matrix m = matrix_at(matrix == 0 ? gate : up, matrix == 0 ? gate_scales : up_scales, expert, inner, d);
    dot_tile(v, x + (size_t)(MY_PICK / k) * d, count, d, &m, first, stage);
    // The first product waits in y for the other: registers hold one of them.
    if (matrix == 1) GATE_TILE(y, inner);
    STORE_TILE(y, inner);
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
  STORE_TILE(part, d);
}

#endif
