// Hyper-connections. Options: ACT; M, the number of streams; NORM, the type of the norm weight, without it hc_post
// only. Products and sums outside the 64-lane dot products round each for itself: no fma (ops/hyper/hyper.h).

#ifndef NORM

// out[t, k, c] = round(post[k] * f[c] + sum over j of comb[j][k] * h[j, c]) for columns c of [begin, end); mix = pre[M]
// | post[M] | comb[M * M].
EM_FN void hc_post_columns(__global const act_t* f, __global const act_t* h, __global const float* mix,
                           __global act_t* out, int d, size_t row, int begin, int end) {
  f += row * d;
  h += row * M * d;
  out += row * M * d;
  mix += row * (2 * M + M * M);
  float post[M], comb[M * M];
#pragma unroll
  for (int k = 0; k < M; ++k) post[k] = mix[M + k];
#pragma unroll
  for (int e = 0; e < M * M; ++e) comb[e] = mix[2 * M + e];
  for (int c = begin + LANE; c < end; c += GROUP) {
    float stream[M];
#pragma unroll
    for (int j = 0; j < M; ++j) stream[j] = load_act(h, (size_t)j * d + c);
    const float value = load_act(f, c);
#pragma unroll
    for (int k = 0; k < M; ++k) {
      float sum = 0.0f;
#pragma unroll
      for (int j = 0; j < M; ++j) sum += comb[j * M + k] * stream[j];
      store_act(out, (size_t)k * d + c, post[k] * value + sum);
    }
  }
}

// Grid (tiles of COLUMNS, rows).
KERNEL void hc_post(__global const act_t* restrict f, __global const act_t* restrict h,
                    __global const float* restrict mix, __global act_t* restrict out, int d) {
  const int begin = (int)get_group_id(0) * COLUMNS;
  hc_post_columns(f, h, mix, out, d, get_group_id(1), begin, min(begin + COLUMNS, d));
}

#else

#define load_norm CAT(load_, NORM)
DEFINE_DOT64(dot64_fn, ACT, f32)

// raw[t, i] = dot64(v[t], fn[i]) for i < mixes, raw[t, mixes] = sum64(v[t]^2). Grid (mixes + 1, rows).
KERNEL void hc_mix(__global const act_t* restrict h, __global const float* restrict fn, __global float* restrict raw,
                   int mixes, int width) {
  __local float fold[64];
  const int i = get_group_id(0);
  const size_t row = get_group_id(1);
  h += row * width;
  const float sum = i < mixes ? dot64_fn(h, fn + (size_t)i * width, width, fold) : dot64_act(h, h, width, fold);
  if (LANE == 0) raw[row * (mixes + 1) + i] = sum;
}

// x[c] = round(sum_j weight[j] * h[j, c]) ascending; then x = round((x * r) * norm).
EM_FN void collapse(__global const act_t* h, __local const float* weight, __global const CAT(NORM, _t) * norm,
                    __global act_t* x, int d, float eps, __local float* fold) {
#if !VECTOR_LANES
#pragma unroll 4
#endif
  for (int c = LANE; c < d; c += GROUP) {
    float sum = 0.0f;
#pragma unroll
    for (int j = 0; j < M; ++j) sum += weight[j] * load_act(h, (size_t)j * d + c);
    store_act(x, c, sum);
  }
  SYNC_GLOBAL;
  const float r = em_rsqrt(em_div(dot64_act(x, x, d, fold), (float)d) + eps);
#if !VECTOR_LANES
#pragma unroll 4
#endif
  for (int c = LANE; c < d; c += GROUP) store_act(x, c, (load_act(x, c) * r) * load_norm(norm, c));
}

// to = from / (sum over the entry's row or column, + eps), entries [M][M]. Steps apart: `along` within the sum,
// `across` outside.
EM_FN void normalise(__local const float* from, __local float* to, int across, int along, float eps) {
  for (int e = LANE; e < M * M; e += GROUP) {
    const int first = across == 1 ? e % M : e / M * M;
    float sum = 0.0f;
    for (int b = 0; b < M; ++b) sum += from[first + b * along];
    to[e] = em_div(from[e], sum + eps);
  }
  SYNC;
}

// Row softmax + eps, columns, then rows and columns in turn. The result is in `comb`.
EM_FN void sinkhorn(__local float* comb, __local float* other, int iterations, float eps) {
  for (int e = LANE; e < M * M; e += GROUP) {
    const int first = e / M * M;
    float maximum = -INFINITY;
    for (int k = 0; k < M; ++k) maximum = em_max(comb[first + k], maximum);
    other[e] = em_exp(comb[e] - maximum);
  }
  SYNC;
  normalise(other, comb, M, 1, 0.0f);
  for (int e = LANE; e < M * M; e += GROUP) other[e] = comb[e] + eps;
  SYNC;
  normalise(other, comb, 1, M, eps);
  for (int i = 1; i < iterations; ++i) {
    normalise(comb, other, M, 1, eps);
    normalise(other, comb, 1, M, eps);
  }
}

// `shared`: 64 + M + 2 M^2 floats.
EM_FN void hc_pre_row(__global const act_t* restrict h, __global const float* restrict raw,
                      __global const float* restrict scale, __global const float* restrict base,
                      __global const CAT(NORM, _t) * restrict norm, __global act_t* x, __global float* restrict mix,
                      int d, int iterations, float hc_eps, float rms_eps, size_t row, __local float* shared) {
  __local float *fold = shared, *pre = fold + 64, *comb = pre + M, *other = comb + M * M;
  const int mixes = 2 * M + M * M;
  raw += row * (mixes + 1);
  mix += row * mixes;
  const float r = em_rsqrt(em_div(raw[mixes], (float)(M * d)) + rms_eps);
  for (int i = LANE; i < mixes; i += GROUP) {
    const float logit = raw[i] * r * scale[i < M ? 0 : (i < 2 * M ? 1 : 2)] + base[i];
    if (i < M) {
      pre[i] = em_sigmoid(logit) + hc_eps;
      mix[i] = pre[i];
    } else if (i < 2 * M) {
      mix[i] = 2.0f * em_sigmoid(logit);
    } else {
      comb[i - 2 * M] = logit;
    }
  }
  SYNC;
  sinkhorn(comb, other, iterations, hc_eps);
  for (int e = LANE; e < M * M; e += GROUP) mix[2 * M + e] = comb[e];
  collapse(h + row * M * d, pre, norm, x + row * d, d, rms_eps, fold);
}

// `shared`: 64 + M floats.
EM_FN void hc_head_row(__global const act_t* restrict h, __global const float* restrict raw,
                       __global const float* restrict scale, __global const float* restrict base,
                       __global const CAT(NORM, _t) * restrict norm, __global act_t* x, int d, float hc_eps,
                       float rms_eps, size_t row, __local float* shared) {
  __local float *fold = shared, *weight = fold + 64;
  raw += row * (M + 1);
  const float r = em_rsqrt(em_div(raw[M], (float)(M * d)) + rms_eps);
  for (int j = LANE; j < M; j += GROUP) weight[j] = em_sigmoid(raw[j] * r * scale[0] + base[j]) + hc_eps;
  SYNC;
  collapse(h + row * M * d, weight, norm, x + row * d, d, rms_eps, fold);
}

#endif
