// Rotates the last 2 * pairs components of each row by the position of its token; the others are copied. `heads` rows
// belong to one token. Option: ACT.
EM_FN void rope_tail_row(__global const int4* restrict step, __global const act_t* restrict x,
                         __global const float* restrict frequency, __global act_t* restrict y, int n, int pairs,
                         int heads, float sign, size_t row, __local float* none) {
  const int position = step[1 + row / heads].y;
  const int tail = n - 2 * pairs;
  x += row * n;
  y += row * n;
  for (int i = LANE; i < tail; i += GROUP) y[i] = x[i];
  for (int i = LANE; i < pairs; i += GROUP) {
    float a = load_act(x, tail + 2 * i), b = load_act(x, tail + 2 * i + 1);
    rotate_pair(&a, &b, (float)position * frequency[i], sign);
    store_act(y, tail + 2 * i, a);
    store_act(y, tail + 2 * i + 1, b);
  }
}
