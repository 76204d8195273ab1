// Activation rounding and the Hadamard transform. Option: ACT.

EM_FN void hadamard_row(__global const act_t* restrict x, __global act_t* restrict y, int n, float scale, size_t row,
                        __local float* v) {
  x += row * n;
  y += row * n;
  for (int i = LANE; i < n; i += GROUP) v[i] = load_act(x, i);
  SYNC;
  hadamard(v, n, scale);
  for (int i = LANE; i < n; i += GROUP) store_act(y, i, v[i]);
}

// Elements first, first + step, .. below `end` of a block whose largest magnitude is `amax`, rounded to the grid.
EM_FN void round_elements(__global const act_t* x, __global act_t* y, int first, int end, int step, uint amax,
                          int is_fp8) {
  if (is_fp8) {
    const uint scale = em_fp8_scale(amax);
    for (int i = first; i < end; i += step) store_act(y, i, em_fake_fp8(load_act(x, i), scale));
  } else {
    const uint scale = em_fp4_scale(amax);
    for (int i = first; i < end; i += step) store_act(y, i, em_fake_fp4(load_act(x, i), scale));
  }
}

// Blocks of `block` elements below `dims` are rounded to the grid, those above are copied. Work-items take PIECE
// neighbours each, and know of those of the other pieces of their block.
#define PIECE 8
EM_FN void fake_quant_row(__global const act_t* restrict x, __global act_t* restrict y, int n, int dims, int block,
                          int is_fp8, size_t row, __local float* shared) {
  x += row * n;
  y += row * n;
#if VECTOR_LANES
  for (int begin = 0; begin < dims; begin += block) {
    const int end = min(begin + block, dims);
    uint amax = 0;
    for (int i = begin; i < end; ++i) amax = max(amax, em_magnitude(load_act(x, i)));
    round_elements(x, y, begin, end, 1, amax, is_fp8);
  }
#else
  __local uint* largest = (__local uint*)shared;
  const int pieces = block / PIECE, blocks = (dims + block - 1) / block;
  for (int first = 0; first < blocks * pieces; first += GROUP) {
    const int begin = (first + LANE) / pieces * block + LANE % pieces * PIECE;
    const int end = min(begin + PIECE, dims);
    uint amax = 0;
    for (int i = begin; i < end; ++i) amax = max(amax, em_magnitude(load_act(x, i)));
    largest[LANE] = amax;
    SYNC;
    for (int i = 0; i < pieces; ++i) amax = max(amax, largest[LANE / pieces * pieces + i]);
    SYNC;
    round_elements(x, y, begin, end, 1, amax, is_fp8);
  }
#endif
  for (int i = dims + LANE; i < n; i += GROUP) y[i] = x[i];
}

// The same of more work-groups: grid (blocks, rows).
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
  } else {
    round_elements(x, y, begin + LANE, end, GROUP, amax, is_fp8);
  }
}
