// Products of all heads with keys or values, on work-items: a tile of heads by columns, of which a work-item sums four
// heads by PER_ITEM columns. Both sides are staged, DEPTH places of the sum at once, place by place.
// Options: ACT; those of row_format.cl; HEADS; GROUP; HEAD_QUADS, fours of heads in a tile; PER_ITEM.
#ifdef HEAD_QUADS

#define CHAIN 16  // places of one chain; two make a block of dot (exact_math.h)
#define TILE_HEADS (4 * HEAD_QUADS)
#define COLUMN_ITEMS (GROUP / HEAD_QUADS)
#define TILE_COLUMNS (COLUMN_ITEMS * PER_ITEM)
#define LEFT_PITCH (TILE_HEADS + 4)
#define RIGHT_PITCH (TILE_COLUMNS + 4)
#define DEPTH 64  // elements, or slots, that are staged at once
#define STAGE_FLOATS (DEPTH * (LEFT_PITCH + RIGHT_PITCH))
#define LEFT_FETCHES ((TILE_HEADS * DEPTH / 8 + GROUP - 1) / GROUP)  // of 8 floats by a work-item
#define RIGHT_FETCHES ((TILE_COLUMNS * DEPTH / 8 + GROUP - 1) / GROUP)
#define QUAD (LANE % HEAD_QUADS)
#define COLUMN (LANE / HEAD_QUADS * PER_ITEM)

// total[i] += the sum of 32 staged places from `begin` on.
EM_FN void add_block(__local const float* left, __local const float* right, int begin, float4 total[PER_ITEM]) {
  float4 e[PER_ITEM], o[PER_ITEM];
#pragma unroll
  for (int i = 0; i < PER_ITEM; ++i) e[i] = o[i] = 0.0f;
#pragma unroll 8
  for (int k = begin; k < begin + CHAIN; ++k) {
    const float4 first = *(__local const float4*)(left + k * LEFT_PITCH + QUAD * 4);
    const float4 second = *(__local const float4*)(left + (k + CHAIN) * LEFT_PITCH + QUAD * 4);
#pragma unroll
    for (int i = 0; i < PER_ITEM; ++i) {
      e[i] = em_fma(first, (float4)right[k * RIGHT_PITCH + COLUMN + i], e[i]);
      o[i] = em_fma(second, (float4)right[(k + CHAIN) * RIGHT_PITCH + COLUMN + i], o[i]);
    }
  }
#pragma unroll
  for (int i = 0; i < PER_ITEM; ++i) total[i] += e[i] + o[i];
}

// The 8 elements that a work-item brings of each of its share of a tile's queries.
EM_FN void fetch_queries(__global const act_t* q, int head0, int d0, float of_q[LEFT_FETCHES][8]) {
#pragma unroll
  for (int f = 0; f < LEFT_FETCHES; ++f) {
    const int i = LANE + f * GROUP;
    __global const act_t* head = q + (size_t)min(head0 + i % TILE_HEADS, HEADS - 1) * DIM;
    const int d = d0 + i / TILE_HEADS * 8;
    load8_act(head, d, DIM, DIM % 8 == 0 && (DIM % DEPTH == 0 || d < DIM), of_q[f]);
  }
}

EM_FN void stage_left(const float of[LEFT_FETCHES][8], __local float* left) {
#pragma unroll
  for (int f = 0; f < LEFT_FETCHES; ++f) {
    const int i = LANE + f * GROUP;
    if (i >= TILE_HEADS * DEPTH / 8) break;
#pragma unroll
    for (int j = 0; j < 8; ++j) left[(i / TILE_HEADS * 8 + j) * LEFT_PITCH + i % TILE_HEADS] = of[f][j];
  }
}

// What a work-item brings of the row of column LANE % TILE_COLUMNS.
EM_FN void fetch_row(__global const uchar* row, int d0, float of_row[RIGHT_FETCHES][8]) {
#pragma unroll
  for (int f = 0; f < RIGHT_FETCHES; ++f) row_values8(row, d0 + (LANE + f * GROUP) / TILE_COLUMNS * 8, of_row[f]);
}

EM_FN void stage_rows(const float of[RIGHT_FETCHES][8], __local float* right) {
#pragma unroll
  for (int f = 0; f < RIGHT_FETCHES; ++f) {
    const int i = LANE + f * GROUP;
#pragma unroll
    for (int j = 0; j < 8; ++j) right[(i / TILE_COLUMNS * 8 + j) * RIGHT_PITCH + i % TILE_COLUMNS] = of[f][j];
  }
}

// total[i] += dot(query, row) for four heads from head0 + 4 QUAD on and column COLUMN + i. q: [HEADS][DIM]; row: that
// of column LANE % TILE_COLUMNS, which this work-item brings. `left` is STAGE_FLOATS floats, `right` its second part.
EM_FN void add_dots(__global const act_t* q, int head0, __global const uchar* row, __local float* left,
                    __local float* right, float4 total[PER_ITEM]) {
  for (int d0 = 0; d0 < DIM; d0 += DEPTH) {
    float of_q[LEFT_FETCHES][8], of_row[RIGHT_FETCHES][8];
    fetch_queries(q, head0, d0, of_q);
    fetch_row(row, d0, of_row);
    SYNC;
    stage_left(of_q, left);
    stage_rows(of_row, right);
    SYNC;
    add_block(left, right, 0, total);
    if (d0 + 2 * CHAIN < DIM) add_block(left, right, 2 * CHAIN, total);
  }
}

#endif
