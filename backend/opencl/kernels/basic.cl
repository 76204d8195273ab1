// Row copies and elementwise kernels. A work-group handles COLUMNS values of one row: grid (column tiles, rows).
// Options: ACT; TABLE, the type of the embedding table.

#ifdef TABLE
// y[t, j, :] = table[ids[t], :] for j < copies.
KERNEL void embed_rows(__global const int* restrict ids, __global const CAT(TABLE, _t) * restrict table,
                       __global act_t* restrict y, int d, int copies) {
  const size_t row = get_group_id(1);
  table += (size_t)ids[row] * d;
  for (int j = 0; j < copies; ++j) {
    __global act_t* to = y + (row * copies + j) * d;
    FOR_COLUMNS(i, d) store_act(to, i, CAT(load_, TABLE)(table, i));
  }
}
#else

// y[s, :] = x[last row of segment s, :]
KERNEL void take_last(__global const int4* restrict step, __global const act_t* restrict x, __global act_t* restrict y,
                      int n) {
  const int segment = get_group_id(1);
  x += (size_t)step[1 + step[0].x + segment].x * n;
  y += (size_t)segment * n;
  FOR_COLUMNS(i, n) y[i] = x[i];
}

// y[t, j, c] = x[t, c] + s[t, j, c]; grid rows are (t, j).
KERNEL void add_streams(__global const act_t* restrict x, __global const act_t* restrict s, __global act_t* restrict y,
                        int d, int streams) {
  const size_t row = get_group_id(1);
  x += row / streams * d;
  s += row * d;
  y += row * d;
  FOR_COLUMNS(i, d) store_act(y, i, load_act(x, i) + load_act(s, i));
}

// y[t, i] = round(em_swiglu(x[t, i], x[t, n + i]))
EM_FN void swiglu_at(__global const act_t* x, __global act_t* y, int i, int n, float limit) {
  store_act(y, i, em_swiglu(load_act(x, i), load_act(x, n + i), limit));
}
EM_FN void swiglu_row(__global const act_t* restrict x, __global act_t* restrict y, int n, float limit, size_t row,
                      __local float* none) {
  for (int i = LANE; i < n; i += GROUP) swiglu_at(x + row * 2 * n, y + row * n, i, n, limit);
}
KERNEL void swiglu(__global const act_t* restrict x, __global act_t* restrict y, int n, float limit) {
  const size_t row = get_group_id(1);
  FOR_COLUMNS(i, n) swiglu_at(x + row * 2 * n, y + row * n, i, n, limit);
}
#endif
