// y[r, z * n + i] = dot(x[r, z * k .. + k), w[z * n + i, :]) for op group z. Grid (token tiles, row tiles, op groups).
// On vector lanes. Options: ACT; OUT, the type of y; those of dot.cl.
DEFINE_STORE_ROWS(store_rows, OUT)

KERNEL void linear(__global const act_t* restrict x, __global const uint* restrict w,
                   __global const uchar* restrict scales, __global CAT(OUT, _t) * restrict y, int rows, int k, int n,
                   int op_groups) {
  __local float stage[STAGE_FLOATS] __attribute__((aligned(64)));
  const int z = get_group_id(2), token = (int)get_group_id(0) * TOKEN_TILE;
  const int begin = z * n, end = begin + n;  // weight rows of the op group; it may start and end within a row group
  const int first = begin / 16 + (int)get_group_id(1) * ROW_TILE;
  const Matrix m = matrix_at(w, scales, 0, op_groups * n, k);
  size_t x_at[TOKEN_TILE];
  for (int t = 0; t < TOKEN_TILE; ++t) x_at[t] = ((size_t)min(token + t, rows - 1) * op_groups + z) * k;

  rowf total[TOKEN_TILE][ROW_TILE];
  dot_tile(total, x, x_at, min(TOKEN_TILE, rows - token), k, &m, first, stage);

  for (int g = 0; g < ROW_TILE; ++g) {
    const int group = first + g;
    if (group >= m.groups) continue;
    for (int t = 0; t < TOKEN_TILE; ++t) {
      if (token + t < rows) store_rows(y + (size_t)(token + t) * op_groups * n, group * 16, begin, end, total[t][g]);
    }
  }
}
