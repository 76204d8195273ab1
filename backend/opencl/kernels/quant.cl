// Activation rounding and the Hadamard transform. Options: ACT; GRID (fp8, fp4), without it no rounding.

EM_FN void hadamard_row(__global const act_t* restrict x, __global act_t* restrict y, int n, float scale, size_t row,
                        __local float* v) {
  x += row * n;
  y += row * n;
  for (int i = LANE; i < n; i += GROUP) v[i] = load_act(x, i);
  SYNC;
  hadamard(v, n, scale);
  for (int i = LANE; i < n; i += GROUP) store_act(y, i, v[i]);
}

#ifdef GRID
#define grid_scale CAT(CAT(em_, GRID), _scale)
#define grid_value CAT(em_fake_, GRID)

// One vector at a time is enough for so few elements, and takes half as long to compile as four.
#if VECTOR_LANES
#define ONE_VECTOR _Pragma("clang loop interleave_count(1)")
#else
#define ONE_VECTOR
#endif

// The largest magnitude of elements first, first + step, .. below `end`.
EM_FN uint largest_magnitude(__global const act_t* x, int first, int end, int step) {
  uint amax = 0;
  ONE_VECTOR
  for (int i = first; i < end; i += step) amax = max(amax, em_magnitude(load_act(x, i)));
  return amax;
}

// The same elements, of a block whose largest magnitude is `amax`, rounded to the grid.
EM_FN void round_elements(__global const act_t* x, __global act_t* y, int first, int end, int step, uint amax) {
  const uint scale = grid_scale(amax);
  ONE_VECTOR
  for (int i = first; i < end; i += step) store_act(y, i, grid_value(load_act(x, i), scale));
}

// Blocks of `block` elements below `dims` are rounded to the grid, those above are copied. Work-items take PIECE
// neighbours each, and know of those of the other pieces of their block.
#define PIECE 8
EM_FN void fake_quant_row(__global const act_t* restrict x, __global act_t* restrict y, int n, int dims, int block,
                          size_t row, __local float* shared) {
  x += row * n;
  y += row * n;
#if VECTOR_LANES
  for (int begin = 0; begin < dims; begin += block) {
    const int end = min(begin + block, dims);
    round_elements(x, y, begin, end, 1, largest_magnitude(x, begin, end, 1));
  }
#else
  __local uint* largest = (__local uint*)shared;
  const int pieces = block / PIECE, blocks = (dims + block - 1) / block;
  for (int first = 0; first < blocks * pieces; first += GROUP) {
    const int begin = (first + LANE) / pieces * block + LANE % pieces * PIECE;
    const int end = min(begin + PIECE, dims);
    uint amax = largest_magnitude(x, begin, end, 1);
    largest[LANE] = amax;
    SYNC;
    for (int i = 0; i < pieces; ++i) amax = max(amax, largest[LANE / pieces * pieces + i]);
    SYNC;
    round_elements(x, y, begin, end, 1, amax);
  }
#endif
  for (int i = dims + LANE; i < n; i += GROUP) y[i] = x[i];
}

// The same of more work-groups: grid (blocks, rows).
KERNEL void fake_quant(__global const act_t* restrict x, __global act_t* restrict y, int n, int dims, int block) {
  const int quantised = (dims + block - 1) / block;
  const int b = get_group_id(0);
  const int copied = b >= quantised;
  const int begin = copied ? dims + (b - quantised) * block : b * block;
  const int end = min(begin + block, copied ? n : dims);
  x += get_group_id(1) * (size_t)n;
  y += get_group_id(1) * (size_t)n;
  uint amax = largest_magnitude(x, begin + LANE, end, GROUP);
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
    round_elements(x, y, begin + LANE, end, GROUP, amax);
  }
}
#endif
