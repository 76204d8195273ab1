// ring[slot, position mod R, :] = encode_row(x[t, :]). Options: ACT; those of row_format.cl.

// F32 as it is; needs no options.
EM_FN void ring_append_numbers_row(__global const int4* restrict step, __global const float* restrict x,
                                   __global float* restrict ring, int n, int ring_rows, size_t t, __local float* none) {
  const int4 row = step[1 + t];  // slot, position, first, end
  x += t * n;
  ring += ((size_t)row.x * ring_rows + row.y % ring_rows) * n;
  const bool last = row.w - (int)t <= ring_rows;  // else a later row of this segment takes the same place
  for (int i = last ? LANE : n; i < n; i += GROUP) ring[i] = em_canonical(x[i]);
}

#ifdef FORMAT

EM_FN void ring_append_row(__global const int4* restrict step, __global const act_t* restrict x,
                           __global uchar* restrict ring, int ring_rows, size_t t, __local float* values) {
  const int4 row = step[1 + t];  // slot, position, first, end
  x += t * DIM;
  ring += ((size_t)row.x * ring_rows + row.y % ring_rows) * ROW_BYTES;
  const bool last = row.w - (int)t <= ring_rows;
#if FORMAT < 2  // numbers need no neighbours, and local memory not to hold a row
  for (int d = last ? LANE : DIM; d < DIM; d += GROUP) put_value(ring, d, load_act(x, d));
#else
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

#endif
