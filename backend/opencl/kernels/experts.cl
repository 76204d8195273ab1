// What a library's products of experts need besides panel.cl: rows that are sorted by expert, and what becomes of their
// sums. A pick is one (token, expert) pair, numbered token * k + s; `lists` holds where each pick's row is among the
// sorted ones, and then which row of x each of these is. Options: ACT.

// to[r, :] = x[lists[picks + r], :], from `at` on. Grid (column tiles, picks).
KERNEL void gather_rows(__global const act_t* restrict x, __global const int* restrict lists,
                        __global float* restrict to, uint at, int n) {
  const size_t row = get_group_id(1), from = lists[get_num_groups(1) + row];
  FOR_COLUMNS(i, n) to[at + row * n + i] = load_act(x, from * n + i);
}

// y[pick, i] = round(em_swiglu(round(gate), round(up)) * weights[pick]). Grid (column tiles, picks).
KERNEL void gate_sums(__global const float* restrict sums, uint gate_at, uint up_at, __global const int* restrict lists,
                      __global const float* restrict weights, __global act_t* restrict y, int n, float limit) {
  const size_t pick = get_group_id(1), row = lists[pick];
  FOR_COLUMNS(i, n) {
    const float g = round_act(sums[gate_at + row * n + i]), u = round_act(sums[up_at + row * n + i]);
    store_act(y, pick * n + i, em_swiglu(g, u, limit) * weights[pick]);
  }
}

// y[t, i] = round((sum over s ascending of round(sums of pick (t, s))) + shared[t, i]). Grid (column tiles, tokens).
KERNEL void add_experts(__global const float* restrict sums, uint at, __global const int* restrict lists,
                        __global const act_t* restrict shared, __global act_t* restrict y, int k, int n) {
  const size_t token = get_group_id(1);
  FOR_COLUMNS(i, n) {
    float sum = 0.0f;
    for (int s = 0; s < k; ++s) sum += round_act(sums[at + (size_t)lists[token * k + s] * n + i]);
    store_act(y, token * n + i, sum + load_act(shared, token * n + i));
  }
}
