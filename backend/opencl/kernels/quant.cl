// Activation rounding and the Hadamard transform. Option: ACT; N, the row length of hadamard.

#ifdef N
// One work-group per row.
KERNEL void hadamard_rows(__global const act_t* restrict x, __global act_t* restrict y, float scale) {
  __local float v[N];
  x += get_group_id(0) * (size_t)N;
  y += get_group_id(0) * (size_t)N;
  for (int i = LANE; i < N; i += GROUP) v[i] = load_act(x, i);
  SYNC;
  hadamard(v, N, scale);
  for (int i = LANE; i < N; i += GROUP) store_act(y, i, v[i]);
}
#else

// Grid (blocks, rows): blocks of `block` elements below `dims` are rounded to the grid, those above are copied.
KERNEL void fake_quant(__global const act_t* restrict x, __global act_t* restrict y, int n, int dims, int block,
                       int is_fp8) {
  const int quantised = (dims + block - 1) / block;
  const int b = get_group_id(0);
  const int copied = b >= quantised;
  const int begin = copied ? dims + (b - quantised) * block : b * block;
  const int end = min(begin + block, copied ? n : dims);
  x += get_group_id(1) * (size_t)n;
  y += get_group_id(1) * (size_t)n;
  uint amax = 0;
  for (int i = begin + LANE; i < end; i += GROUP) amax = max(amax, em_magnitude(load_act(x, i)));
#if !VECTOR_LANES
  __local uint fold[GROUP];
  fold[LANE] = amax;
  for (int half_width = GROUP / 2; half_width > 0; half_width /= 2) {
    SYNC;
    if (LANE < half_width) fold[LANE] = max(fold[LANE], fold[LANE + half_width]);
  }
  SYNC;
  amax = fold[0];
#endif
  if (copied) {
    for (int i = begin + LANE; i < end; i += GROUP) y[i] = x[i];
  } else if (is_fp8) {
    const uint scale = em_fp8_scale(amax);
    for (int i = begin + LANE; i < end; i += GROUP) store_act(y, i, em_fake_fp8(load_act(x, i), scale));
  } else {
    const uint scale = em_fp4_scale(amax);
    for (int i = begin + LANE; i < end; i += GROUP) store_act(y, i, em_fake_fp4(load_act(x, i), scale));
  }
}
#endif
