// Operands and results of a library's products: dense f32.
// Options: ACT and OUT, the types of rows and results; WEIGHT, that of the weights, and WEIGHT_BITS.

// Element j of the word at `p`.
#define WORD_ELEMENTS (32 / WEIGHT_BITS)
EM_FN float value_fp8(__global const uint* p, int j) { return em_e4m3((*p >> (8 * j)) & 255u); }
EM_FN float value_fp4(__global const uint* p, int j) { return em_e2m1((*p >> (4 * j)) & 15u); }
EM_FN float value_bf16(__global const uint* p, int j) { return as_float((*p >> (16 * j)) << 16); }
EM_FN float value_f16(__global const uint* p, int j) { return vload_half(j, (__global const half*)p); }
EM_FN float value_f32(__global const uint* p, int j) { return as_float(*p); }

#define PANEL_WORDS 64  // of each of sixteen rows, in a work-group

// panel[k * 16 groups + 16 g + r] = weight k of row r of row group first + g of matrix `matrix`, of `rows` rows of
// k_all; `panel` begins at `at`. Weights are in Layout::kRows16. Grid (tiles of PANEL_WORDS words, row groups).
KERNEL void widen_panel(__global const uint* restrict w, __global const uchar* restrict scales,
                        __global float* restrict panel, uint at, int matrix, int first, int rows, int k_all) {
  const int words = (k_all + WORD_ELEMENTS - 1) / WORD_ELEMENTS;
  const int g = get_group_id(1), stride = 16 * (int)get_num_groups(1);
  const size_t group = (size_t)matrix * ((rows + 15) / 16) + first + g;  // of the whole stack
  for (int i = LANE; i < 16 * PANEL_WORDS; i += GROUP) {
    const int word = (int)get_group_id(0) * PANEL_WORDS + i / 16, r = i % 16, k = word * WORD_ELEMENTS;
    if (word >= words) break;
#if WEIGHT_BITS == 4
    const float scale = em_e8m0(scales[(group * ((k_all + 31) / 32) + k / 32) * 16 + r]);
#elif WEIGHT_BITS == 8
    const size_t block_row = (size_t)matrix * ((rows + 127) / 128) + (first + g) / 8;
    const float scale = em_e8m0(scales[block_row * ((k_all + 127) / 128) + k / 128]);
#else
    const float scale = 1.0f;
#endif
    __global const uint* p = w + (group * words + word) * 16 + r;
    for (int j = 0; j < WORD_ELEMENTS && k + j < k_all; ++j)
      panel[at + (size_t)(k + j) * stride + 16 * g + r] = CAT(value_, WEIGHT)(p, j) * scale;
  }
}

// Rows of n numbers. Grid (column tiles, rows).
KERNEL void widen_rows(__global const act_t* restrict x, __global float* restrict to, uint at, int n) {
  const size_t row = get_group_id(1);
  FOR_COLUMNS(i, n) to[at + row * n + i] = load_act(x, row * n + i);
}

// y[r * stride + begin + i] = sums[r * n + i]; `sums` begins at `at`. Grid (column tiles, rows).
KERNEL void narrow_sums(__global const float* restrict sums, uint at, __global CAT(OUT, _t) * restrict y, int stride,
                        int begin, int n) {
  const size_t row = get_group_id(1);
  FOR_COLUMNS(i, n) CAT(store_, OUT)(y, row * stride + begin + i, sums[at + row * n + i]);
}
