#pragma once

#include <cstdint>
#include <map>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "loaders/checkpoint/v4_config.h"
#include "tests/support/model_files.h"

namespace v4rt {

// One layer of the release in faithful mode, in double precision, straight from the formulas: it shares no code with
// the runtime but the decoding of a stored number. Sums are exact to a double; what the release rounds is rounded.
//
// With a `noise` other than 0, sums are changed at random by about as much as another order changes fp32 sums. Results
// that then differ depend on a number next to the tie of a rounding, so only the order of a sum decides them.
class DoubleModel {
 public:
  using Values = std::vector<double>;

  // The outputs of the sublayers, [T, d], and the streams after the layer, [T, m, d].
  struct Layer {
    Values attn, ffn, out;
  };

  DoubleModel(const V4Config& config, ModelFiles files, unsigned noise = 0)
      : c_(config), files_(std::move(files)), noisy_(noise != 0), random_(noise) {}

  Values embedded(std::span<const int32_t> ids);  // the streams before the first layer
  Layer run(int layer, const Values& streams, std::span<const int32_t> ids);

 private:
  struct Mix {
    Values x, post, comb;  // [T, d], [T, m], [T, m, m]
  };

  double nudged(double x, double size);                              // by the noise of a sum of terms of that size
  double dot(std::span<const double> a, std::span<const double> b);  // nudged
  double bf16(double x);                                             // nudged, then rounded
  void round_all(Values& x);

  // The stored numbers of an official tensor, scales multiplied in.
  const Values& weight(const std::string& name);
  // Product of x [rows, k] with the weight, with x rounded to FP8 first if the weight is stored in FP8 or FP4; as it
  // is, and rounded to bf16.
  Values product(Values x, int64_t k, const std::string& name);
  Values linear(const Values& x, int64_t k, const std::string& name);
  Values rms_norm(Values x, const std::string& name);
  // The last components of rows [n, width], of which `heads` share a position.
  void rotate(Values& x, int64_t width, int64_t heads, int ratio, std::span<const int64_t> positions, double sign);

  Mix hc_pre(const Values& streams, const std::string& part);
  Values hc_post(const Values& f, const Values& streams, const Mix& mix);
  Values attention(const Values& x, int ratio);
  Values entries(const Values& x, int ratio, const std::string& where, int64_t width);
  // For each token, the entries that it attends to, ascending.
  std::vector<std::vector<int64_t>> selected(const Values& x, const Values& q_rank, int ratio);
  Values attend(const Values& q, const Values& kv, const Values& cache,
                const std::vector<std::vector<int64_t>>& chosen);
  Values expert(const Values& x, const std::string& name, double weight);
  Values experts(const Values& x, std::span<const int32_t> ids, bool hashed);
  Values mtp_streams(const Values& streams, std::span<const int32_t> ids);

  V4Config c_;
  ModelFiles files_;
  bool noisy_;
  std::minstd_rand random_;
  std::map<std::string, Values> weights_;
  std::string at_;  // "layers.3."
};

}  // namespace v4rt
