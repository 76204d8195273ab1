// The arithmetic of v4rt, defined once for every backend: this text is compiled as C++ and as OpenCL C.
//
// Every value is IEEE-754 binary32, every operation correctly rounded, nothing is contracted or reassociated, so each
// function has one answer, bit for bit, wherever it runs. Sums have one order too:
//
//   dot(x, w)     K is cut into blocks of 32 elements, total = 0. In a block, e is the chain c = fma(x[k], w[k], c)
//                 from c = 0 over its elements 0..15 and o the same over 16..31, both ascending; then
//                 total = total + (e + o). Elements past the end of K count as nothing, which is what a product of two
//                 zeros does. Matrix units (AMX) add in just this order when element i stands beside element 16 + i;
//                 for others the two chains are independent and short.
//                 Scales are powers of two: weights may carry them, or e + o, and the bits are the same while the sums
//                 of a block stay normal numbers with and without the scale. What is smaller or larger than that in
//                 both chains of a block (x below 2^-110 or above 2^110, say) is the one thing not defined here.
//   sum64(f)      64 lanes; lane l adds f(l), f(l+64), ... in order, starting from 0 (products by fma); then the lanes
//                 are folded by halves: lane[l] += lane[l + h] for h = 32, 16, 8, 4, 2, 1. The answer is lane 0.
//   everything else sums in ascending index order, from 0.
//
// Subnormal numbers: some devices take them for zero, as operands, as results or both, and say nothing of that zero's
// sign. So that these give the same bits, nothing hangs on such a number that a model makes by itself: what an
// exponential makes small is 0 where it is below 2^-60 (em_flush, em_weight), so that its products with each other, and
// with anything ordinary, are normal. Only devices that keep them are held to one answer where a tensor from elsewhere
// holds subnormal numbers, and where attention's running maximum leaps twice by more than 30 over sums that nothing is
// added to meanwhile.
//
// NaN: which operations give one, and what becomes of it, is the same everywhere. Its sign and payload are not, because
// on processors they depend on the order of operands. So a NaN in a tensor of numbers equals any other, and where
// numbers become bytes or choices a NaN has one form:
//   cache rows    em_canonical; blocks with a common scale: the scale is E8M0's NaN, 255, for a block that holds a NaN
//                 or an infinity, all of whose numbers then are NaN, as they are after the release's own rounding
//   order, top-k  em_order: as -infinity
//   maxima        clamps name the bound first and keep a NaN; the running maximum of a softmax names the newcomer first
//                 and passes over it, and its em_exp brings it into the sum
#ifndef V4RT_OPS_CORE_EXACT_MATH_H_
#define V4RT_OPS_CORE_EXACT_MATH_H_

#ifdef __OPENCL_VERSION__
#pragma OPENCL FP_CONTRACT OFF
#define EM_FN static inline __attribute__((always_inline))
#ifdef V4RT_FMA_WRONG_AT_ZERO  // a driver's that is made of other operations, and says -0 for fma(-0, 0, 0)
#define em_fma(a, b, c) ((c) == 0.0f ? (a) * (b) + (c) : fma(a, b, c))
#else
#define em_fma(a, b, c) fma(a, b, c)
#endif
#define em_rint(x) rint(x)
#define em_bits(x) as_uint(x)
#define em_float(u) as_float(u)
#define em_abs(x) fabs(x)
#define em_leading_zeros(u) ((int)clz(u))
typedef uint em_uint;
#else
#include <bit>
#include <cstdint>
#define EM_FN [[gnu::always_inline]] inline
namespace v4rt {
using em_uint = uint32_t;
EM_FN float em_fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
EM_FN float em_rint(float x) { return __builtin_rintf(x); }
EM_FN em_uint em_bits(float x) { return std::bit_cast<em_uint>(x); }
EM_FN float em_float(em_uint u) { return std::bit_cast<float>(u); }
EM_FN float em_abs(float x) { return __builtin_fabsf(x); }
EM_FN int em_leading_zeros(em_uint u) { return std::countl_zero(u); }
#endif

// The larger and the smaller; b when one of them is NaN.
EM_FN float em_max(float a, float b) { return a > b ? a : b; }
EM_FN float em_min(float a, float b) { return a < b ? a : b; }
EM_FN float em_clamp(float x, float limit) { return em_min(limit, em_max(-limit, x)); }

// Magnitudes order like their bits: infinity above the numbers, NaN above it.
EM_FN em_uint em_magnitude(float x) { return em_bits(x) & 0x7fffffffu; }
#define EM_INFINITY_BITS 0x7f800000u
EM_FN float em_canonical(float x) { return em_magnitude(x) > EM_INFINITY_BITS ? em_float(0x7fc00000u) : x; }

// Bits that order as numbers do: -0 as 0, NaN as -infinity.
EM_FN em_uint em_order(float x) {
  const em_uint u = em_bits(x), magnitude = em_magnitude(x);
  const em_uint order = u > 0x80000000u ? ~u : u | 0x80000000u;
  return magnitude > EM_INFINITY_BITS ? ~0xff800000u : order;
}

// Division and square root for devices whose own are a few ulp off, or which treat subnormal numbers as zero. The
// device computes only with mantissas, where nothing is large, small or zero. An exact remainder in integers then finds
// the right neighbour, and sign and exponent are put back as bits.
//
// A number other than 0, infinity and NaN is em_significand(x) / 2^23 * 2^em_exponent(x), the first factor in [1, 2).
EM_FN em_uint em_significand(float x) {
  const em_uint fraction = em_bits(x) & 0x7fffffu, some = fraction != 0u ? fraction : 1u;
  return em_magnitude(x) >= 0x00800000u ? fraction | 0x00800000u : some << (em_leading_zeros(some) - 8);
}
EM_FN int em_exponent(float x) {
  const em_uint magnitude = em_magnitude(x);
  return magnitude >= 0x00800000u ? (int)(magnitude >> 23) - 127 : -118 - em_leading_zeros(magnitude);
}
EM_FN float em_mantissa(float x) { return em_float((em_significand(x) & 0x7fffffu) | 0x3f800000u); }
EM_FN float em_radicand(float x) {  // x / 4^h in [1, 4)
  const em_uint odd = (em_uint)em_exponent(x) & 1u;
  return em_float((em_significand(x) & 0x7fffffu) | ((127u + odd) << 23));
}

// a / b from `near`, at most 3 floats away from em_mantissa(a) / em_mantissa(b) (OpenCL allows 2.5 ulp, its embedded
// profile 3).
//
// With A and B the significands, the quotient is (q + r / B) / 2^shift times a power of two, where q = floor(A 2^shift
// / B) has 24 bits and 0 <= r < B. A float's last place is that of q, or half of it below 1, or twice it where `near`
// has crossed 1 upwards: its q is at most 1 + 2 + 2 = 5 off, and 1 more for rounding and for what is cut off. So r lies
// within 6 B of its range, |r| <= 7 B < 2^27, and 32 bits hold it although they do not hold its terms. Every step
// brings q nearer by one until r is in its range. Two bits say what r / B is, whether it reaches a half and whether
// anything is left; that is all that rounding to nearest asks for.
EM_FN float em_quotient(float a, float b, float near) {
  const em_uint dividend = em_significand(a), divisor = em_significand(b);
  const int below_one = dividend < divisor ? 1 : 0, shift = 23 + below_one;
  em_uint q = (em_uint)(near * em_float((em_uint)(127 + shift) << 23));
  int r = (int)((dividend << shift) - q * divisor);
  const int whole = (int)divisor;
  for (int step = 0; step < 6; ++step) {
    const int change = r < 0 ? -1 : (r >= whole ? 1 : 0);
    q += (em_uint)change;
    r -= change * whole;
  }
  const em_uint upper = 2 * r >= whole ? 1u : 0u;  // half
  const em_uint bits = (q << 2) | (upper << 1) | (2 * r != (int)upper * whole ? 1u : 0u);

  const int exponent = em_exponent(a) - em_exponent(b) - below_one + 127;
  const int lost = 1 - exponent < 0 ? 0 : (1 - exponent > 27 ? 27 : 1 - exponent);  // bits below the least subnormal's
  const em_uint kept = (bits >> lost) | ((bits & ((1u << lost) - 1u)) != 0u ? 1u : 0u);
  const em_uint rounded = (kept + 1u + ((kept >> 2) & 1u)) >> 2;  // ties to even; a carry moves into the exponent
  const em_uint finite = rounded + (exponent < 1 ? 0u : (em_uint)(exponent > 255 ? 254 : exponent - 1) << 23);
  const em_uint in_range = finite < EM_INFINITY_BITS ? finite : EM_INFINITY_BITS;

  const em_uint x = em_magnitude(a), y = em_magnitude(b);
  const em_uint edge =
      x == EM_INFINITY_BITS || y == 0u ? EM_INFINITY_BITS : (x == 0u || y == EM_INFINITY_BITS ? 0u : in_range);
  const bool none = x > EM_INFINITY_BITS || y > EM_INFINITY_BITS || (x | y) == 0u || (x & y) == EM_INFINITY_BITS;
  return em_float(none ? 0x7fc00000u : edge | ((em_bits(a) ^ em_bits(b)) & 0x80000000u));
}

// sqrt(x) from `near`, at most 4 floats away from sqrt(em_radicand(x)) (OpenCL allows 3 ulp, its embedded profile 4).
//
// With s the root's significand, s^2 is near R = radicand * 2^46, and s is the nearest to the root when (s - 1/2)^2 < R
// < (s + 1/2)^2, that is -s < d <= s for the whole number d = R - s^2. A float's last place is that of s, or half of it
// below 1, or twice it where `near` has crossed 2 upwards: its s is at most 1 + 2 + 2 + 2 = 7 off, and |d| <= 7.5 *
// 2^25, which 32 bits hold although they do not hold its terms. The result is always normal.
EM_FN float em_root(float x, float near) {
  const int odd = em_exponent(x) & 1;
  em_uint s = (em_uint)(near * 8388608.0f);
  int d = (int)((em_significand(x) << (23 + odd)) - s * s);
  for (int step = 0; step < 7; ++step) {
    const int root = (int)s, change = d > root ? 1 : (d <= -root ? -1 : 0);
    d -= change * (2 * root + change);
    s += (em_uint)change;
  }
  const em_uint positive = s + ((em_uint)((em_exponent(x) - odd) / 2 + 126) << 23);  // s has the bit of 2^23
  const em_uint u = em_bits(x), magnitude = em_magnitude(x);
  const bool none = magnitude > EM_INFINITY_BITS || (u > 0x80000000u);
  return em_float(none ? 0x7fc00000u : (magnitude == 0u || magnitude == EM_INFINITY_BITS ? u : positive));
}

#ifndef __OPENCL_VERSION__
EM_FN float em_div(float a, float b) { return a / b; }
EM_FN float em_sqrt(float x) { return __builtin_sqrtf(x); }
#elif defined(V4RT_CORRECT_DIVIDE_SQRT)
EM_FN float em_div(float a, float b) { return a / b; }
EM_FN float em_sqrt(float x) { return sqrt(x); }
#else
EM_FN float em_div(float a, float b) { return em_quotient(a, b, em_mantissa(a) / em_mantissa(b)); }
EM_FN float em_sqrt(float x) { return em_root(x, sqrt(em_radicand(x))); }
#endif

// A magnitude below 2^-60 becomes 0, without a sign. Far from where numbers are subnormal, so that nothing hangs on how
// a device tells that they are.
EM_FN float em_flush(float x) { return em_magnitude(x) < 0x21800000u ? 0.0f : x; }

// e^x; below the smallest normal number: 0; above the largest: infinity; of NaN: NaN. Error < 1 ulp.
EM_FN float em_exp(float x) {
  const float clamped = em_min(em_max(x, -88.0f), 89.0f);
  const float n = em_rint(clamped * 1.44269504f);
  float r = em_fma(n, -0.693145752f, x);  // ln 2 in two parts, the first with trailing zeros; of x: a NaN stays
  r = em_fma(n, -1.42860677e-6f, r);
  float p = 1.98412698e-4f;
  p = em_fma(p, r, 1.38888889e-3f);
  p = em_fma(p, r, 8.33333333e-3f);
  p = em_fma(p, r, 4.16666667e-2f);
  p = em_fma(p, r, 1.66666667e-1f);
  p = em_fma(p, r, 0.5f);
  p = em_fma(p, r, 1.0f);
  p = em_fma(p, r, 1.0f);
  const int whole = (int)n;
  const int lower = whole >> 1;  // 2^n in two factors: n may be 128
  const float y = p * em_float((em_uint)(lower + 127) << 23) * em_float((em_uint)(whole - lower + 127) << 23);
  return x < -87.33654f ? 0.0f : (x > 88.72283f ? em_float(0x7f800000u) : y);
}

// e^x as the weight of a softmax, whose largest is 1: below 2^-60 it is 0.
EM_FN float em_weight(float x) { return x < -41.5888309f ? 0.0f : em_exp(x); }

EM_FN float em_sigmoid(float x) { return em_flush(em_div(1.0f, 1.0f + em_exp(-x))); }
EM_FN float em_silu(float x) { return em_flush(em_div(x, 1.0f + em_exp(-x))); }
// SwiGLU of gate g and up u; limit <= 0: no bounds.
EM_FN float em_swiglu(float g, float u, float limit) {
  const float gate = limit > 0.0f ? em_min(limit, g) : g, up = limit > 0.0f ? em_clamp(u, limit) : u;
  return em_flush(em_silu(gate) * up);
}
EM_FN float em_rsqrt(float x) { return em_div(1.0f, em_sqrt(x)); }

// ln(1 + e^z) = max(z, 0) + log1p(e^-|z|), log1p(y) = 2 atanh(t), t = y / (2 + y), as a series in t^2 <= 1/9. By 2 t,
// which is normal where y is.
EM_FN float em_softplus(float z) {
  const float y = em_exp(-em_abs(z));
  const float twice = em_div(2.0f * y, 2.0f + y);
  const float t2 = 0.25f * (twice * twice);
  float p = 6.66666667e-2f;
  p = em_fma(p, t2, 7.69230769e-2f);
  p = em_fma(p, t2, 9.09090909e-2f);
  p = em_fma(p, t2, 1.11111111e-1f);
  p = em_fma(p, t2, 1.42857143e-1f);
  p = em_fma(p, t2, 0.2f);
  p = em_fma(p, t2, 3.33333333e-1f);
  p = em_fma(p, t2, 1.0f);
  return em_max(z, 0.0f) + twice * p;
}

// cos and sin of an angle |x| <= 2^21: x - n pi/2 is exact in the first part (pi/2 has 24 bits, the rest cancels),
// the two further parts bring the remainder's error to about 2^-49. Polynomials after Cephes (minimax on +-pi/4).
EM_FN float em_sin_poly(float r) {
  const float r2 = r * r;
  float p = -1.9515295891e-4f;
  p = em_fma(p, r2, 8.3321608736e-3f);
  p = em_fma(p, r2, -1.6666654611e-1f);
  return em_fma(p * r2, r, r);
}
EM_FN float em_cos_poly(float r) {
  const float r2 = r * r;
  float p = 2.443315711809948e-5f;
  p = em_fma(p, r2, -1.388731625493765e-3f);
  p = em_fma(p, r2, 4.166664568298827e-2f);
  return em_fma(p * r2, r2, em_fma(-0.5f, r2, 1.0f));
}
EM_FN float em_reduce(float x, float n) {
  float r = em_fma(n, -1.57079637f, x);
  r = em_fma(n, 4.37113883e-8f, r);
  return em_fma(n, 1.71512489e-15f, r);
}
EM_FN float em_cos(float x) {
  const float n = em_rint(x * 0.636619772f);
  const float r = em_reduce(x, n);
  const int quadrant = (int)n & 3;
  const float y = (quadrant & 1) != 0 ? em_sin_poly(r) : em_cos_poly(r);
  return quadrant == 1 || quadrant == 2 ? -y : y;
}
EM_FN float em_sin(float x) {
  const float n = em_rint(x * 0.636619772f);
  const float r = em_reduce(x, n);
  const int quadrant = (int)n & 3;
  const float y = (quadrant & 1) != 0 ? em_cos_poly(r) : em_sin_poly(r);
  return quadrant >= 2 ? -y : y;
}

// Nearest bf16, ties to even, as a float. NaN stays NaN.
EM_FN float em_bf16(float x) {
  const em_uint u = em_bits(x);
  const em_uint rounded = (u + 0x7fffu + ((u >> 16) & 1u)) & 0xffff0000u;
  return em_float((u & 0x7fffffffu) > 0x7f800000u ? (u | 0x00400000u) & 0xffff0000u : rounded);
}

// 2^e as a float, -126 <= e <= 127.
EM_FN float em_pow2(int e) { return em_float((em_uint)(e + 127) << 23); }

// Value of an E8M0 scale byte, 0..254 (2^-127 is subnormal); of 255: infinity, by which a code of 0 becomes NaN.
EM_FN float em_e8m0(em_uint b) { return em_float(b == 0u ? 0x00400000u : b << 23); }

// Nearest E4M3 value of |v| <= 448, ties to even (subnormal step 2^-9).
EM_FN float em_round_e4m3(float v) {
  const int exponent = (int)((em_bits(v) >> 23) & 255u) - 127;
  const int step = (exponent < -6 ? -6 : exponent) - 3;
  return em_rint(v * em_pow2(-step)) * em_pow2(step);
}

// Nearest E2M1 value of |v| <= 6, ties to the even code (0, 0.5, 1, 1.5, 2, 3, 4, 6).
EM_FN float em_round_e2m1(float v) {
  const int exponent = (int)((em_bits(v) >> 23) & 255u) - 127;
  const int step = (exponent < 0 ? 0 : exponent) - 1;
  return em_rint(v * em_pow2(-step)) * em_pow2(step);
}

// Codes of values that are already on the grid; of NaN: 0.
EM_FN em_uint em_e4m3_code(float v) {
  const em_uint magnitude = em_magnitude(v);
  const em_uint normal = (magnitude >> 20) - (120u << 3);                  // rebias 127 -> 7
  const em_uint subnormal = em_bits(em_float(magnitude) + 16384.0f) & 7u;  // whose last place is 2^-9
  const em_uint code = magnitude >= 0x3c800000u ? normal : subnormal;      // 2^-6
  return magnitude > EM_INFINITY_BITS ? 0u : ((em_bits(v) >> 24) & 0x80u) | code;
}
EM_FN em_uint em_e2m1_code(float v) {
  const em_uint magnitude = em_magnitude(v);
  const em_uint below_one = magnitude != 0u ? 1u : 0u;  // 0.5 or 0
  const em_uint code = magnitude >= 0x3f800000u ? (magnitude >> 22) - (126u << 1) : below_one;
  return magnitude > EM_INFINITY_BITS ? 0u : ((em_bits(v) >> 28) & 8u) | code;
}

// Values of codes.
EM_FN float em_e4m3(em_uint code) {
  const em_uint m = code & 0x7fu;
  const float magnitude = m < 8u ? (float)m * 1.953125e-3f : em_float((m << 20) + (120u << 23));  // rebias 7 -> 127
  return (code & 0x80u) != 0u ? -magnitude : magnitude;
}
EM_FN float em_e2m1(em_uint code) {
  const em_uint m = code & 7u;
  const float magnitude = m < 4u ? (float)m * 0.5f : (float)(2u + (m & 1u)) * em_pow2((int)(m >> 1) - 2);
  return (code & 8u) != 0u ? -magnitude : magnitude;
}

// E8M0 byte of the scale 2^ceil(log2(amax / 448)), amax floored at 1e-4 (FP8), or of amax / 6 floored at 6 * 2^-126
// (FP4). amax is the largest em_magnitude of a block; 255 where that is no finite number.
EM_FN em_uint em_scale_byte(float q) {
  const em_uint u = em_bits(q), exponent = (u >> 23) & 255u;
  return exponent == 255u ? 255u : exponent + ((u & 0x7fffffu) != 0u ? 1u : 0u);
}
EM_FN em_uint em_fp8_scale(em_uint amax) { return em_scale_byte(em_max(1e-4f, em_float(amax)) * 2.23214286e-3f); }
EM_FN em_uint em_fp4_scale(em_uint amax) {
  return em_scale_byte(em_max(7.05296610e-38f, em_float(amax)) * 1.66666667e-1f);
}

// 2^(127 - b), b <= 253; 0 for the scale of what is not finite, so that all codes are 0 and all values 0 * infinity.
EM_FN float em_inverse_scale(em_uint b) { return em_float(b < 254u ? (254u - b) << 23 : 0u); }

// Grid value of x under scale byte b, i.e. value(code) * 2^(b - 127). Exact in bf16.
EM_FN float em_fake_fp8(float x, em_uint b) {
  return em_round_e4m3(em_clamp(x * em_inverse_scale(b), 448.0f)) * em_e8m0(b);
}
EM_FN float em_fake_fp4(float x, em_uint b) {
  return em_round_e2m1(em_clamp(x * em_inverse_scale(b), 6.0f)) * em_e8m0(b);
}

#ifndef __OPENCL_VERSION__
}  // namespace v4rt
#endif
#endif  // V4RT_OPS_CORE_EXACT_MATH_H_
