// Rows of bytes to rows interleaved by `unit` bytes, 4 (values) or 1 (FP4 scales), sixteen rows to a group; what is
// missing is zero (Layout::kRows16). Grid (tiles of COLUMNS units, groups of rows, matrices).

EM_FN void interleave_units(__global const uchar* from, __global uchar* to, int rows, int row_bytes, int unit) {
  const int units = (row_bytes + unit - 1) / unit;
  const int group = get_group_id(1), groups = get_num_groups(1);
  const size_t matrix = get_group_id(2);
  from += matrix * rows * row_bytes;
  to += (matrix * groups + group) * units * 16 * unit;
  FOR_COLUMNS(i, units) {
    for (int r = 0; r < 16; ++r) {
      const int row = group * 16 + r;
      for (int b = 0; b < unit; ++b) {
        const int byte = i * unit + b;
        const uchar value = from[(size_t)min(row, rows - 1) * row_bytes + min(byte, row_bytes - 1)];
        to[((size_t)i * 16 + r) * unit + b] = row < rows && byte < row_bytes ? value : 0;
      }
    }
  }
}

KERNEL void interleave(__global const uchar* restrict from, __global uchar* restrict to, int rows, int row_bytes,
                       int unit) {
  if (unit == 4)
    interleave_units(from, to, rows, row_bytes, 4);
  else
    interleave_units(from, to, rows, row_bytes, 1);
}
