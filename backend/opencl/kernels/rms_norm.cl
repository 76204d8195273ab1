// y = (x * r) * w, r = rsqrt(sum64(x^2) / n + eps). One work-group per row. Options: ACT, WEIGHT.

#define load_weight CAT(load_, WEIGHT)
typedef CAT(WEIGHT, _t) weight_t;
DEFINE_DOT64(dot64_act, ACT, ACT)

KERNEL void rms_norm(__global const act_t* restrict x, __global const weight_t* restrict w, __global act_t* restrict y,
                     int n, float eps) {
  __local float fold[64];
  x += (size_t)get_group_id(0) * n;
  y += (size_t)get_group_id(0) * n;
  const float r = em_rsqrt(em_div(dot64_act(x, x, n, fold), (float)n) + eps);
  for (int i = LANE; i < n; i += GROUP) store_act(y, i, (load_act(x, i) * r) * load_weight(w, i));
}
