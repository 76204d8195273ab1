// y = q * rsqrt(mean(q^2) + eps) per head; bf16 activations round at every step. A row is a head. Option: ACT.

#if VECTOR_LANES
EM_FN float sum64_squares(__global const act_t* q, int n) {
  float lanes[64];
  for (int l = 0; l < 64; ++l) lanes[l] = 0.0f;
  for (int i = 0; i < n; i += 64) {
    const int count = min(64, n - i);
    for (int l = 0; l < count; ++l) {
      const float v = load_act(q, i + l);
      lanes[l] = ACT_ROUNDS ? lanes[l] + em_bf16(v * v) : em_fma(v, v, lanes[l]);
    }
  }
  return fold64(vload16(0, lanes), vload16(1, lanes), vload16(2, lanes), vload16(3, lanes));
}
#define SUM64_SQUARES(q, n, fold) sum64_squares(q, n)
#else
EM_FN float sum64_squares(__global const act_t* q, int n, __local float* fold) {
  float lane = 0.0f;
  for (int i = LANE < 64 ? LANE : n; i < n; i += 64) {
    const float v = load_act(q, i);
    lane = ACT_ROUNDS ? lane + em_bf16(v * v) : em_fma(v, v, lane);
  }
  return fold64(lane, fold);
}
#define SUM64_SQUARES(q, n, fold) sum64_squares(q, n, fold)
#endif

EM_FN void head_rms_row(__global const act_t* restrict q, __global act_t* restrict y, int n, float eps, size_t row,
                        __local float* fold) {
  q += row * n;
  y += row * n;
  const float mean = round_act(em_div(SUM64_SQUARES(q, n, fold), (float)n));
  const float r = round_act(em_rsqrt(round_act(mean + eps)));
  for (int i = LANE; i < n; i += GROUP) store_act(y, i, load_act(q, i) * r);
}
