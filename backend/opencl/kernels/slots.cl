// The slots of a query's attention: the window's rows of the ring, then entries of the cache
// (ops/attention/attention.h: Attend). Options: those of row_format.cl.
#ifdef FORMAT

#define SLOTS 64  // of a block of the softmax

typedef struct {
  int window, ratio, top_k, ring_rows;
} Reach;

// The row of slot j of the query in `row`; -1 when masked. Ring rows count from 0, entries from ring_rows on.
EM_FN int slot_row(const Reach* e, int4 row, __global const int* idx, int t, int j) {
  if (j < e->window) {
    const int p = max(0, row.y - e->window + 1) + j;
    return p > row.y ? -1 : p % e->ring_rows;
  }
  const int i = j - e->window;
  if (e->top_k > 0) {
    const int entry = idx[(size_t)t * e->top_k + max(min(i, e->top_k - 1), 0)];
    return entry < 0 ? -1 : e->ring_rows + entry;
  }
  return e->ring_rows + i;
}

EM_FN int slot_count(const Reach* e, int4 row) {
  if (e->ratio == 0) return e->window;
  return e->window + (e->top_k > 0 ? e->top_k : (row.y + 1) / max(e->ratio, 1));
}

// `ring` begins with the slot's rows.
EM_FN __global const uchar* row_at(const Reach* e, const Entries* entries, __global const uchar* ring,
                                   __global const uchar* cache, int row) {
  return row < e->ring_rows ? ring + (size_t)row * ROW_BYTES : cache + entry_at(entries, row - e->ring_rows);
}

#endif
