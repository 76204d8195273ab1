// What the device's memory and arithmetic give at best (Device::measure_speed). Nobody reads the results.

#if VECTOR_LANES
typedef float16 wide_t;
EM_FN float first_of(wide_t v) { return v.s0; }
#else
typedef float4 wide_t;
EM_FN float first_of(wide_t v) { return v.x; }
#endif

// Sums all of `data`. Every lane takes a multiple of four: a stretch of its own where a lane has the vector's width,
// else what lies side by side goes to lanes side by side.
KERNEL void speed_read(__global const wide_t* restrict data, int per_lane, __global float* restrict sums) {
  const int lane = (int)get_global_id(0);
#if VECTOR_LANES
  const int first = lane * per_lane, step = 1;
#else
  const int first = lane, step = (int)get_global_size(0);
#endif
  wide_t a = 0.0f, b = 0.0f, c = 0.0f, d = 0.0f;
  for (int i = 0; i < per_lane; i += 4) {
    __global const wide_t* p = data + first + i * step;
    a += p[0];
    b += p[step];
    c += p[2 * step];
    d += p[3 * step];
  }
  sums[lane] = first_of(a + b + c + d);
}

// `rounds` multiply-adds in each of eight chains, which hide each other's latency.
KERNEL void speed_multiply(int rounds, float a, float b, __global float* restrict sums) {
  wide_t chains[8];
#pragma unroll
  for (int j = 0; j < 8; ++j) chains[j] = (float)j;
  for (int i = 0; i < rounds; ++i) {
#pragma unroll
    for (int j = 0; j < 8; ++j) chains[j] = fma(chains[j], (wide_t)a, (wide_t)b);
  }
  wide_t sum = 0.0f;
#pragma unroll
  for (int j = 0; j < 8; ++j) sum += chains[j];
  sums[get_global_id(0)] = first_of(sum);
}
