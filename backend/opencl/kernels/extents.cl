// Where compressed entries lie (backend/opencl/extents.h). Options: those of row_format.cl.
#ifdef FORMAT

// Of a slot: `capacity` rows, in extents of 1 << shift; `table` holds for each where it is in the buffer, in extents,
// slot by slot. shift < 0: rows lie in order, and the table is not read as one.
typedef struct {
  __global const int* table;
  int shift, capacity, slot;
} Entries;

// The byte at which entry i begins.
EM_FN size_t entry_at(const Entries* e, int i) {
  const size_t row = (size_t)e->slot * e->capacity + i;
  const int shift = max(e->shift, 0);
  const size_t extent = max(e->table[e->shift < 0 ? 0 : row >> shift], 0);
  const size_t found = (extent << shift) + (row & (((size_t)1 << shift) - 1));
  return (e->shift < 0 ? row : found) * ROW_BYTES;
}

#endif
