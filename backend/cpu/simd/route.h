#pragma once

#include <cstdint>

namespace v4rt::simd {

// s[i] = em_sqrt(em_softplus(z[i])): the router's score of n experts.
void router_scores(const float* z, int64_t n, float* s);

}  // namespace v4rt::simd
