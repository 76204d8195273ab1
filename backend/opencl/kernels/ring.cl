// ring[slot, position mod R, :] = encode_row(x[t, :]). One work-group per row. Options: ACT; those of row_format.cl.
KERNEL void ring_append(__global const int4* restrict step, __global const act_t* restrict x,
                        __global uchar* restrict ring, int ring_rows) {
  const int t = get_group_id(0);
  const int4 row = step[1 + t];  // slot, position, first, end
  x += (size_t)t * DIM;
  ring += ((size_t)row.x * ring_rows + row.y % ring_rows) * ROW_BYTES;
  const bool last = row.w - t <= ring_rows;  // else a later row of this segment takes the same place
#if FORMAT < 2                               // numbers need no neighbours, and local memory not to hold a row
  if (!last) return;
  for (int d = LANE; d < DIM; d += GROUP) put_value(ring, d, load_act(x, d));
#else
  __local float values[DIM];
  for (int d = LANE; d < DIM; d += GROUP) values[d] = load_act(x, d);
  SYNC;
  if (last) encode_row(values, ring);
#endif
}

// y[t, :] = ring[slot, position mod R, :].
#if FORMAT < 2
KERNEL void ring_read(__global const int4* restrict step, __global const uchar* restrict ring,
                      __global act_t* restrict y, int ring_rows) {
  const int t = get_group_id(0);
  const int4 row = step[1 + t];
  ring += ((size_t)row.x * ring_rows + row.y % ring_rows) * ROW_BYTES;
  y += (size_t)t * DIM;
  for (int d = LANE; d < DIM; d += GROUP) store_act(y, d, row_value(ring, d));
}
#endif
