// y[r, z * n + i] = dot(x[r, z * k .. + k), w[z * n + i, :]) for op group z, on work-items. y is of act_t, or of float
// with `f32_out`. Options: ACT; those of wide_dot.cl.

#ifdef ABREAST

// What a work-group does, of one row of x: the `tile`-th tile of op group z's weight rows. `rows` and `token` are those
// of more.
EM_FN void linear_tile(__global const act_t* x, __global const uint* w, __global const uchar* scales, __global uchar* y,
                       int f32_out, int rows, int k, int n, int op_groups, int token, int tile, int z,
                       __local float* sums) {
  const int begin = z * n, end = begin + n;  // weight rows; they may start within a row group
  const int group = begin / 16 + tile * GROUPS_ABREAST;
  const Matrix m = matrix_at(w, scales, 0, op_groups * n, k);
  int turn = 0;
  const float total = dot_rows(x + (size_t)z * k, k, &m, group, sums, &turn);
  const int row = group * 16 + LANE;
  if (LANE >= 16 * GROUPS_ABREAST || row < begin || row >= end) return;
  if (f32_out)
    ((__global float*)y)[row] = total;
  else
    store_act((__global act_t*)y, row, total);
}

// Grid (1, row groups / GROUPS_ABREAST, op groups).
KERNEL void linear(__global const act_t* restrict x, __global const uint* restrict w,
                   __global const uchar* restrict scales, __global uchar* restrict y, int f32_out, int rows, int k,
                   int n, int op_groups) {
  __local float sums[SUMS] __attribute__((aligned(16)));
  linear_tile(x, w, scales, y, f32_out, rows, k, n, op_groups, 0, get_group_id(1), get_group_id(2), sums);
}

#else

DEFINE_STORE_ROWS(store_acts, ACT)
DEFINE_STORE_ROWS(store_floats, f32)

// Grid (token tiles, row tiles, op groups).
KERNEL void linear(__global const act_t* restrict x, __global const uint* restrict w,
                   __global const uchar* restrict scales, __global uchar* restrict y, int f32_out, int rows, int k,
                   int n, int op_groups) {
  __local float stage[STAGE_FLOATS] __attribute__((aligned(16)));
  const int z = get_group_id(2), token = (int)get_group_id(0) * TILE_TOKENS, begin = z * n, end = begin + n;
  const int first = begin / 16 * 16 + (int)get_group_id(1) * TILE_ROWS;
  const Matrix m = matrix_at(w, scales, 0, op_groups * n, k);
  const size_t x_row = min(token + LANE % TILE_TOKENS, rows - 1);
  rowf total[QUADS][4];
  dot_tile(total, x + (x_row * op_groups + z) * k, rows - token, k, &m, first, stage);
#pragma unroll
  for (int t = 0; t < 4; ++t) {
    const size_t row = token + ITEM_TOKEN + t;
    if (row >= rows) break;
    const size_t at = row * op_groups * n;
#pragma unroll
    for (int q = 0; q < QUADS; ++q) {
      if (f32_out)
        store_floats((__global float*)y + at, first + ITEM_ROW(q), begin, end, total[q][t]);
      else
        store_acts((__global act_t*)y + at, first + ITEM_ROW(q), begin, end, total[q][t]);
    }
  }
}

#endif
