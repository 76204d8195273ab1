// y[r, z * n + i] = dot(x[r, z * k .. + k), w[z * n + i, :]) for op group z, on vector lanes. y is of act_t, or of
// float with `f32_out`. Options: ACT; those of dot.cl.
DEFINE_STORE_ROWS(store_acts, ACT)
DEFINE_STORE_ROWS(store_floats, f32)

// What a work-group does: the rows of x from `token` on, and the `tile`-th tile of op group z's weight rows.
EM_FN void linear_tile(__global const act_t* x, __global const uint* w, __global const uchar* scales, __global uchar* y,
                       int f32_out, int rows, int k, int n, int op_groups, int token, int tile, int z,
                       __local float* stage) {
  const int begin = z * n, end = begin + n;  // weight rows of the op group; it may start and end within a row group
  const int first = begin / 16 + tile * ROW_TILE;
  const Matrix m = matrix_at(w, scales, 0, op_groups * n, k);
  size_t x_at[TOKEN_TILE];
  for (int t = 0; t < TOKEN_TILE; ++t) x_at[t] = ((size_t)min(token + t, rows - 1) * op_groups + z) * k;

  rowf total[TOKEN_TILE][ROW_TILE];
  dot_tile(total, x, x_at, min(TOKEN_TILE, rows - token), k, &m, first, stage);

  for (int g = 0; g < ROW_TILE; ++g) {
    const int group = first + g;
    if (group >= m.groups) continue;
    for (int t = 0; t < TOKEN_TILE; ++t) {
      if (token + t >= rows) break;
      const size_t at = (size_t)(token + t) * op_groups * n;
      if (f32_out)
        store_floats((__global float*)y + at, group * 16, begin, end, total[t][g]);
      else
        store_acts((__global act_t*)y + at, group * 16, begin, end, total[t][g]);
    }
  }
}

// Grid (token tiles, row tiles, op groups).
KERNEL void linear(__global const act_t* restrict x, __global const uint* restrict w,
                   __global const uchar* restrict scales, __global uchar* restrict y, int f32_out, int rows, int k,
                   int n, int op_groups) {
  __local float stage[STAGE_FLOATS] __attribute__((aligned(64)));
  linear_tile(x, w, scales, y, f32_out, rows, k, n, op_groups, (int)get_group_id(0) * TOKEN_TILE, get_group_id(1),
              get_group_id(2), stage);
}
