// Operations on one row that a work-group holds in local memory. The caller synchronises before; they do after.

// em_rsqrt(sum64(v^2) / n + eps)
EM_FN float inverse_rms(__local const float* v, int n, float eps, __local float* fold) {
#if VECTOR_LANES
  float16 c0 = 0.0f, c1 = 0.0f, c2 = 0.0f, c3 = 0.0f;
  int i = 0;
  for (; i + 64 <= n; i += 64) {
    const float16 v0 = vload16(0, v + i), v1 = vload16(1, v + i), v2 = vload16(2, v + i), v3 = vload16(3, v + i);
    c0 = em_fma(v0, v0, c0);
    c1 = em_fma(v1, v1, c1);
    c2 = em_fma(v2, v2, c2);
    c3 = em_fma(v3, v3, c3);
  }
  if (i < n) {
    vstore16(c0, 0, fold);
    vstore16(c1, 1, fold);
    vstore16(c2, 2, fold);
    vstore16(c3, 3, fold);
    for (int l = 0; i + l < n; ++l) fold[l] = em_fma(v[i + l], v[i + l], fold[l]);
    c0 = vload16(0, fold);
    c1 = vload16(1, fold);
    c2 = vload16(2, fold);
    c3 = vload16(3, fold);
  }
  const float sum = fold64(c0, c1, c2, c3);
#else
  float lane = 0.0f;
  for (int i = LANE < 64 ? LANE : n; i < n; i += 64) lane = em_fma(v[i], v[i], lane);
  const float sum = fold64(lane, fold);
#endif
  return em_rsqrt(em_div(sum, (float)n) + eps);
}

// Butterfly stages h = 1, 2, 4, ..., then one product with `scale`; n is a power of two.
EM_FN void hadamard(__local float* v, int n, float scale) {
  int h = 1;
#if VECTOR_LANES
  if (n >= 16) {  // the stages inside a vector: (a, b) -> (a + b, a - b), the subtraction as a sum with -b
    for (int i = 0; i < n; i += 16) {
      float16 x = vload16(0, v + i);
      x = x.s0022446688aaccee + x.s1133557799bbddff * (float16)(1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1);
      x = x.s010145458989cdcd + x.s23236767ababefef * (float16)(1, 1, -1, -1, 1, 1, -1, -1, 1, 1, -1, -1, 1, 1, -1, -1);
      x = x.s0123012389ab89ab + x.s45674567cdefcdef * (float16)(1, 1, 1, 1, -1, -1, -1, -1, 1, 1, 1, 1, -1, -1, -1, -1);
      x = x.s0123456701234567 + x.s89abcdef89abcdef * (float16)(1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1, -1, -1, -1);
      vstore16(x, 0, v + i);
    }
    for (h = 16; h < n; h *= 2) {
      for (int i = 0; i < n; i += 2 * h) {
        for (int at = i; at < i + h; at += 16) {
          const float16 a = vload16(0, v + at), b = vload16(0, v + at + h);
          vstore16(a + b, 0, v + at);
          vstore16(a - b, 0, v + at + h);
        }
      }
    }
  }
#endif
  for (; h < n; h *= 2) {
    for (int i = LANE; i < n / 2; i += GROUP) {
      const int at = (i / h) * 2 * h + i % h;
      const float a = v[at], b = v[at + h];
      v[at] = a + b;
      v[at + h] = a - b;
    }
    SYNC;
  }
  for (int i = LANE; i < n; i += GROUP) v[i] *= scale;
  SYNC;
}

// Rotates a pair by `angle`; `sign` -1 rotates back.
EM_FN void rotate_pair(float* a, float* b, float angle, float sign) {
  const float c = em_cos(angle), s = em_sin(angle) * sign;
  const float x = *a, y = *b;
  *a = em_fma(x, c, -(y * s));
  *b = em_fma(x, s, y * c);
}
EM_FN void rotate(__local float* tail, int pairs, __global const float* frequency, int position) {
  for (int i = LANE; i < pairs; i += GROUP) {
    float a = tail[2 * i], b = tail[2 * i + 1];
    rotate_pair(&a, &b, (float)position * frequency[i], 1.0f);
    tail[2 * i] = a;
    tail[2 * i + 1] = b;
  }
  SYNC;
}
