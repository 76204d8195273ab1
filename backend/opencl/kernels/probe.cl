// What a device does, asked before kernels rely on it. Options: W, W_BITS, HALVES of weights.cl.

// wrong += 1 where the code of this work-item, at each place of a word, is another value by halves than by bits.
KERNEL void probe_halves(__global int* wrong) {
  for (uint code = (uint)LANE; code < (1u << W_BITS); code += GROUP) {
    uint word = 0u;
    for (int i = 0; i < PER_WORD; ++i) word |= ((code + 37u * (uint)i) & ((1u << W_BITS) - 1u)) << (W_BITS * i);
    rowf by_bits[PER_WORD], by_halves[PER_WORD];
    decode_each((rowu)word, by_bits);
    decode_word((rowu)word, by_halves);
    for (int i = 0; i < PER_WORD; ++i) {
      const float bits = by_bits[i].y * (1.0f / CAT(FACTOR_, W)), halves = by_halves[i].y * UNFACTOR;
      if (as_uint(bits) != as_uint(halves)) atomic_inc(wrong);
    }
  }
}

// Compiles where lanes can pick from a vector in one instruction (weights.cl).
#if PERMUTES
KERNEL void probe_permute(__global const uint* restrict words, __global float* restrict values) {
  vstore16(decode(load_words(words), 0), 0, values);
}
#endif

// Compiles where the compiler knows how to ask for memory ahead of time.
#if VECTOR_LANES
KERNEL void probe_ahead(__global uint* restrict p) {
  __builtin_prefetch((const void*)(size_t)(p + 1), 0, 2);
  p[0] = 0;
}
#endif
