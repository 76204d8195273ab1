// Rows of bytes to rows interleaved by UNIT bytes, sixteen rows to a group; what is missing is zero (Layout::kRows16).
// Option: UNIT, 4 (values) or 1 (FP4 scales). Grid (tiles of COLUMNS units, groups of rows, matrices).

KERNEL void interleave(__global const uchar* restrict from, __global uchar* restrict to, int rows, int row_bytes) {
  const int units = (row_bytes + UNIT - 1) / UNIT;
  const int group = get_group_id(1), groups = get_num_groups(1);
  const size_t matrix = get_group_id(2);
  from += matrix * rows * row_bytes;
  to += (matrix * groups + group) * units * 16 * UNIT;
  FOR_COLUMNS(unit, units) {
    for (int r = 0; r < 16; ++r) {
      const int row = group * 16 + r;
      for (int b = 0; b < UNIT; ++b) {
        const int byte = unit * UNIT + b;
        const uchar value = from[(size_t)min(row, rows - 1) * row_bytes + min(byte, row_bytes - 1)];
        to[((size_t)unit * 16 + r) * UNIT + b] = row < rows && byte < row_bytes ? value : 0;
      }
    }
  }
}
