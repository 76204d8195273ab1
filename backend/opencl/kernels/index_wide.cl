// Scores of the lightning indexer (ops/attention/attention.h: IndexSelect), on work-items. Options: those of
// head_tile.cl, whose columns are keys; RATIO; TOP_K; ROUNDS. Rows are taken from `row0` on; scores hold `pitch`
// floats per row of the launch.

#define DOT_PITCH (TILE_COLUMNS + 1)

EM_FN float rounded(float v) { return ROUNDS ? em_bf16(v) : v; }

// scores[row, j] for keys j < n = (position + 1) / RATIO, where n > TOP_K. Grid (key tiles, rows).
KERNEL void index_scores(__global const int4* restrict step, __global const act_t* restrict q,
                         __global const act_t* restrict g, __global const uchar* restrict cache,
                         __global const int* restrict table, int shift, int capacity, __global float* restrict scores,
                         int row0, int pitch, float weight_scale) {
  __local float left[STAGE_FLOATS] __attribute__((aligned(16)));
  __local float* right = left + DEPTH * LEFT_PITCH;
  __local float* dots = left;  // [TILE_HEADS][DOT_PITCH], once a tile is summed
  const int t = row0 + (int)get_group_id(1), first = (int)get_group_id(0) * TILE_COLUMNS;
  const int4 row = step[1 + t];
  const int n = (row.y + 1) / RATIO;
  if (n <= TOP_K || first >= n) return;
  g += (size_t)t * HEADS;
  const Entries entries = {table, shift, capacity, row.x};
  __global const uchar* key = cache + entry_at(&entries, min(first + LANE % TILE_COLUMNS, n - 1));  // that it brings
  const int mine = LANE % TILE_COLUMNS;  // whose heads it adds
  float sum = 0.0f;
  for (int head0 = 0; head0 < HEADS; head0 += TILE_HEADS) {
    float4 total[PER_ITEM];
#pragma unroll
    for (int i = 0; i < PER_ITEM; ++i) total[i] = 0.0f;
    add_dots(q + (size_t)t * HEADS * DIM, head0, key, left, right, total);
    SYNC;
#pragma unroll
    for (int i = 0; i < PER_ITEM; ++i) {
      const float each[4] = {total[i].x, total[i].y, total[i].z, total[i].w};
#pragma unroll
      for (int h = 0; h < 4; ++h) dots[(QUAD * 4 + h) * DOT_PITCH + COLUMN + i] = each[h];
    }
    SYNC;
    if (LANE < TILE_COLUMNS) {
      for (int h = 0; h < min(TILE_HEADS, HEADS - head0); ++h) {
        const float dot = rounded(dots[h * DOT_PITCH + mine]), positive = dot < 0.0f ? 0.0f : dot;
        const float weight = load_act(g, head0 + h) * weight_scale;
        sum = ROUNDS ? sum + rounded(em_bf16(weight) * positive) : em_fma(weight, positive, sum);
      }
    }
  }
  if (LANE < TILE_COLUMNS && first + mine < n) scores[(size_t)get_group_id(1) * pitch + first + mine] = rounded(sum);
}
