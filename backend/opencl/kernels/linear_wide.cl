// y[r, z * n + i] = dot(x[r, z * k .. + k), w[z * n + i, :]) for op group z, on work-items.
// Options: ACT; OUT, the type of y; those of wide_dot.cl.

#ifdef ABREAST

// One row of x. Grid (1, row groups / GROUPS_ABREAST, op groups).
KERNEL void linear(__global const act_t* restrict x, __global const uint* restrict w,
                   __global const uchar* restrict scales, __global CAT(OUT, _t) * restrict y, int rows, int k, int n,
                   int op_groups) {
  __local float sums[SUMS] __attribute__((aligned(16)));
  const int z = get_group_id(2), begin = z * n, end = begin + n;  // weight rows; they may start within a row group
  const int group = begin / 16 + (int)get_group_id(1) * GROUPS_ABREAST;
  const Matrix m = matrix_at(w, scales, 0, op_groups * n, k);
  int turn = 0;
  const float total = dot_rows(x + (size_t)z * k, k, &m, group, sums, &turn);
  const int row = group * 16 + LANE;
  if (LANE < 16 * GROUPS_ABREAST && row >= begin && row < end) CAT(store_, OUT)(y, row, total);
}

#else

DEFINE_STORE_ROWS(store_rows, OUT)

// Grid (token tiles, row tiles, op groups).
KERNEL void linear(__global const act_t* restrict x, __global const uint* restrict w,
                   __global const uchar* restrict scales, __global CAT(OUT, _t) * restrict y, int rows, int k, int n,
                   int op_groups) {
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
#pragma unroll
    for (int q = 0; q < QUADS; ++q) store_rows(y + row * op_groups * n, first + ITEM_ROW(q), begin, end, total[q][t]);
  }
}

#endif
