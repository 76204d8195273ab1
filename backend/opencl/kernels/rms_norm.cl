// y = (x * r) * w, r = rsqrt(sum64(x^2) / n + eps). Options: ACT, WEIGHT.

#ifdef WEIGHT
#define load_weight CAT(load_, WEIGHT)

EM_FN void rms_norm_row(__global const act_t* restrict x, __global const CAT(WEIGHT, _t) * restrict w,
                        __global act_t* restrict y, int n, float eps, size_t row, __local float* fold) {
  x += row * n;
  y += row * n;
  const float r = em_rsqrt(em_div(dot64_act(x, x, n, fold), (float)n) + eps);
  for (int i = LANE; i < n; i += GROUP) store_act(y, i, (load_act(x, i) * r) * load_weight(w, i));
}
#endif
