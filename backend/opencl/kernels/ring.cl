// ring[slot, position mod R, :] = encode_row(x[t, :]). One work-group per row. Options: ACT; those of row_format.cl.
KERNEL void ring_append(__global const int4* restrict step, __global const act_t* restrict x,
                        __global uchar* restrict ring, int ring_rows) {
  __local float values[DIM];
  const int t = get_group_id(0);
  const int4 row = step[1 + t];  // slot, position, first, end
  x += (size_t)t * DIM;
  for (int d = LANE; d < DIM; d += GROUP) values[d] = load_act(x, d);
  SYNC;
  if (row.w - t > ring_rows) return;  // a later row of this segment takes the same place
  encode_row(values, ring + ((size_t)row.x * ring_rows + row.y % ring_rows) * ROW_BYTES);
}
