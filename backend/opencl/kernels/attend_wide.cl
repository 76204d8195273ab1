// Attention over the ring and the compressed entries, with a sink (ops/attention/attention.h: Attend), on work-items:
// scores of all slots, a softmax of each head over blocks of 64 slots, values. A block's maximum does not depend on the
// others, so the running maximum, and with it every block's factor, is known before any value is summed.
// Options: ACT; those of row_format.cl; HEADS; ROUNDS; for the products those of head_tile.cl, whose columns are slots
// of the scores, elements of the values.
//
// Scratch, per row of the launch: scores [HEADS][pitch], which become the weights; factors [blocks][HEAD_PITCH], what
// the sums so far are multiplied by, NONE for a block without a live slot; maxima and sums [HEADS][blocks]; z [HEADS].

#define HEAD_PITCH ((HEADS + 3) / 4 * 4)
#define NONE (-1.0f)

#ifdef HEAD_QUADS

// scores[row, h, slot] = dot(q[row, h], key of the slot) * scale, of live slots. Grid (slot tiles, head tiles, rows).
KERNEL void attend_scores(__global const int4* restrict step, __global const act_t* restrict q,
                          __global const uchar* restrict ring, __global const uchar* restrict cache,
                          __global const int* restrict table, int shift, int capacity, __global const int* restrict idx,
                          __global float* restrict scores, int window, int ratio, int top_k, int ring_rows, int row0,
                          int pitch, float scale) {
  __local float left[STAGE_FLOATS] __attribute__((aligned(16)));
  __local float* right = left + DEPTH * LEFT_PITCH;
  const Reach reach = {window, ratio, top_k, ring_rows};
  const int t = row0 + (int)get_group_id(2), head0 = (int)get_group_id(1) * TILE_HEADS;
  const int4 row = step[1 + t];
  const int slots = slot_count(&reach, row), slot0 = (int)get_group_id(0) * TILE_COLUMNS;
  if (slot0 >= slots) return;
  const Entries entries = {table, shift, capacity, row.x};
  ring += (size_t)row.x * ring_rows * ROW_BYTES;

  const int mine = slot0 + LANE % TILE_COLUMNS;  // the slot whose key this work-item brings
  const int from = mine < slots ? slot_row(&reach, row, idx, t, mine) : -1;
  __global const uchar* key = row_at(&reach, &entries, ring, cache, max(from, 0));
  float4 total[PER_ITEM];
#pragma unroll
  for (int i = 0; i < PER_ITEM; ++i) total[i] = 0.0f;
  add_dots(q + (size_t)t * HEADS * DIM, head0, key, left, right, total);

  scores += (size_t)get_group_id(2) * HEADS * pitch;
#pragma unroll
  for (int i = 0; i < PER_ITEM; ++i) {
    const int slot = slot0 + COLUMN + i, head = head0 + QUAD * 4;
    if (slot >= slots) break;
    const float each[4] = {total[i].x, total[i].y, total[i].z, total[i].w};
#pragma unroll
    for (int h = 0; h < 4; ++h) {
      if (head + h < HEADS) scores[(size_t)(head + h) * pitch + slot] = each[h] * scale;
    }
  }
}

// out[row, h, d] = (the sum over slots of weight * value) / z. Grid (element tiles, head tiles, rows).
KERNEL void attend_values(__global const int4* restrict step, __global const uchar* restrict ring,
                          __global const uchar* restrict cache, __global const int* restrict table, int shift,
                          int capacity, __global const int* restrict idx, __global const float* restrict weights,
                          __global const float* restrict factors, __global const float* restrict z,
                          __global act_t* restrict out, int window, int ratio, int top_k, int ring_rows, int row0,
                          int pitch) {
  __local float left[STAGE_FLOATS] __attribute__((aligned(16)));
  __local float* right = left + DEPTH * LEFT_PITCH;
  const Reach reach = {window, ratio, top_k, ring_rows};
  const int t = row0 + (int)get_group_id(2), head0 = (int)get_group_id(1) * TILE_HEADS;
  const int4 row = step[1 + t];
  const int slots = slot_count(&reach, row), d0 = (int)get_group_id(0) * TILE_COLUMNS, head = head0 + QUAD * 4;
  const Entries entries = {table, shift, capacity, row.x};
  ring += (size_t)row.x * ring_rows * ROW_BYTES;
  weights += (size_t)get_group_id(2) * HEADS * pitch;
  factors += (size_t)get_group_id(2) * (pitch / SLOTS) * HEAD_PITCH;
  z += (size_t)get_group_id(2) * HEADS;

  float4 total[PER_ITEM];
#pragma unroll
  for (int i = 0; i < PER_ITEM; ++i) total[i] = 0.0f;
  for (int base = 0; base < slots; base += SLOTS) {
    float of_weight[LEFT_FETCHES][8], of_value[RIGHT_FETCHES][8];
#pragma unroll
    for (int f = 0; f < LEFT_FETCHES; ++f) {  // those of masked slots are 0
      const int i = LANE + f * GROUP, h = min(head0 + i % TILE_HEADS, HEADS - 1);
      __global const float* from = weights + (size_t)h * pitch + base + min(i / TILE_HEADS, DEPTH / 8 - 1) * 8;
      vstore4(*(__global const float4*)from, 0, of_weight[f]);
      vstore4(*(__global const float4*)(from + 4), 1, of_weight[f]);
    }
#pragma unroll
    for (int f = 0; f < RIGHT_FETCHES; ++f) {
      const int i = LANE + f * GROUP, slot = base + i / (TILE_COLUMNS / 8);
      const int from = slot < slots ? slot_row(&reach, row, idx, t, slot) : -1;
#pragma unroll
      for (int j = 0; j < 8; ++j) of_value[f][j] = 0.0f;
      if (from >= 0) {
        row_values8(row_at(&reach, &entries, ring, cache, from), d0 + i % (TILE_COLUMNS / 8) * 8, of_value[f]);
      }
    }
    SYNC;
    stage_left(of_weight, left);
#pragma unroll
    for (int f = 0; f < RIGHT_FETCHES; ++f) {
      const int i = LANE + f * GROUP;
      __local float* to = right + i / (TILE_COLUMNS / 8) * RIGHT_PITCH + i % (TILE_COLUMNS / 8) * 8;
      *(__local float4*)to = vload4(0, of_value[f]);
      *(__local float4*)(to + 4) = vload4(1, of_value[f]);
    }
    SYNC;
    const float4 factor = *(__global const float4*)(factors + base / SLOTS * HEAD_PITCH + min(head, HEAD_PITCH - 4));
    if (factor.x == NONE) continue;
#pragma unroll
    for (int i = 0; i < PER_ITEM; ++i) total[i] *= factor;
    add_block(left, right, 0, total);
    add_block(left, right, 2 * CHAIN, total);
  }

  for (int h = 0; h < 4 && head + h < HEADS; ++h) {
    __global act_t* to = out + ((size_t)t * HEADS + head + h) * DIM;
#pragma unroll
    for (int i = 0; i < PER_ITEM; ++i) {
      const float each[4] = {total[i].x, total[i].y, total[i].z, total[i].w};
      if (d0 + COLUMN + i < DIM) store_act(to, d0 + COLUMN + i, em_div(each[h], z[head + h]));
    }
  }
}

#else

#define PARTS (GROUP / SLOTS)  // blocks of slots abreast
#define SLOT (LANE % SLOTS)

// The largest of the 64 lanes of each part, NaN passed over.
EM_FN float part_max(float v, __local float* fold) {
  fold[LANE] = em_max(v, -INFINITY);
  for (int half_width = SLOTS / 2; half_width > 0; half_width /= 2) {
    SYNC;
    if (SLOT < half_width) fold[LANE] = em_max(fold[LANE], fold[LANE + half_width]);
  }
  SYNC;
  const float largest = fold[LANE - SLOT];
  SYNC;
  return largest;
}

// sum64 of the lanes of each part.
EM_FN float part_sum(float v, __local float* fold) {
  fold[LANE] = v;
  for (int half_width = SLOTS / 2; half_width > 0; half_width /= 2) {
    SYNC;
    if (SLOT < half_width) fold[LANE] += fold[LANE + half_width];
  }
  SYNC;
  const float sum = fold[LANE - SLOT];
  SYNC;
  return sum;
}

// scores -> weights e = em_weight(score - the running maximum), 0 of masked slots; factors and z. Grid (HEADS, rows).
KERNEL void attend_softmax(__global const int4* restrict step, __global const float* restrict sink,
                           __global const int* restrict idx, __global float* scores, __global float* factors,
                           __global float* maxima, __global float* sums, __global float* z, int window, int ratio,
                           int top_k, int ring_rows, int row0, int pitch) {
  __local float fold[GROUP];
  __local int live[PARTS];
  const Reach reach = {window, ratio, top_k, ring_rows};
  const int head = get_group_id(0), t = row0 + (int)get_group_id(1), part = LANE / SLOTS;
  const int4 row = step[1 + t];
  const int slots = slot_count(&reach, row), blocks = (slots + SLOTS - 1) / SLOTS, block_pitch = pitch / SLOTS;
  const size_t of_head = (size_t)get_group_id(1) * HEADS + head;
  scores += of_head * pitch;
  maxima += of_head * block_pitch;
  sums += of_head * block_pitch;
  factors += (size_t)get_group_id(1) * block_pitch * HEAD_PITCH + head;

  for (int block = part; block - part < blocks; block += PARTS) {
    const int slot = block * SLOTS + SLOT, from = slot < slots ? slot_row(&reach, row, idx, t, slot) : -1;
    if (SLOT == 0) live[part] = 0;
    SYNC;
    if (from >= 0) live[part] = 1;
    const float largest = part_max(from >= 0 ? scores[slot] : -INFINITY, fold);
    if (SLOT == 0 && block < blocks) {
      maxima[block] = largest;
      factors[block * HEAD_PITCH] = live[part] ? 0.0f : NONE;
    }
  }
  SYNC_GLOBAL;
  if (LANE == 0) {
    float maximum = -INFINITY;
    for (int block = 0; block < blocks; ++block) {
      if (factors[block * HEAD_PITCH] != NONE) maximum = em_max(maxima[block], maximum);
      maxima[block] = maximum;
    }
  }
  SYNC_GLOBAL;
  for (int block = part; block - part < blocks; block += PARTS) {
    const int slot = block * SLOTS + SLOT, from = slot < slots ? slot_row(&reach, row, idx, t, slot) : -1;
    const float maximum = block < blocks ? maxima[block] : 0.0f;
    const float e = from >= 0 ? em_weight(scores[slot] - maximum) : 0.0f;
    if (block < blocks) scores[slot] = ROUNDS ? em_bf16(e) : e;
    const float sum = part_sum(e, fold);
    if (SLOT == 0 && block < blocks) {
      sums[block] = sum;
      if (factors[block * HEAD_PITCH] != NONE) {
        factors[block * HEAD_PITCH] = em_weight((block > 0 ? maxima[block - 1] : -INFINITY) - maximum);
      }
    }
  }
  SYNC_GLOBAL;
  if (LANE != 0) return;
  float total = 0.0f;
  for (int block = 0; block < blocks; ++block) {
    const float factor = factors[block * HEAD_PITCH];
    if (factor != NONE) total = total * factor + sums[block];
  }
  z[of_head] = total + em_exp(sink[head] - (blocks > 0 ? maxima[blocks - 1] : -INFINITY));
}

#endif
