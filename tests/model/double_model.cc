#include "tests/model/double_model.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numbers>
#include <numeric>

namespace v4rt {
namespace {

using Values = DoubleModel::Values;

// Rounds to the nearest number of a format with `bits` of fraction whose smallest normal exponent is `least`; ties to
// even.
double rounded(double x, int bits, int least) {
  if (x == 0) return x;
  const double step = std::ldexp(1.0, std::max(std::ilogb(x), least) - bits);
  return std::nearbyint(x / step) * step;
}

// For numbers that fp32 holds exactly, so that ties do not depend on the order of a sum.
double exact_bf16(double x) { return rounded(x, 7, -126); }

enum class Grid { kFp8, kFp4 };

// Rounds blocks of a row to the grid under the least power of two that is enough for the block's maximum.
void simulate(std::span<double> row, Grid grid, size_t block) {
  const bool fp8 = grid == Grid::kFp8;
  for (size_t begin = 0; begin < row.size(); begin += block) {
    const auto part = row.subspan(begin, std::min(block, row.size() - begin));
    float most = fp8 ? 1e-4f : static_cast<float>(std::ldexp(6.0, -126));
    for (const double v : part) most = std::max(most, static_cast<float>(std::abs(v)));
    const float wanted = most * (fp8 ? static_cast<float>(1.0 / 448) : static_cast<float>(1.0 / 6));
    int exponent = 0;
    const bool power = std::frexp(wanted, &exponent) == 0.5f;
    const double scale = std::ldexp(1.0, power ? exponent - 1 : exponent), limit = fp8 ? 448 : 6;
    for (double& v : part) {
      const double on_grid = std::clamp(v / scale, -limit, limit);
      v = scale * (fp8 ? rounded(on_grid, 3, -6) : rounded(on_grid, 1, 0));
    }
  }
}

std::span<double> row_of(Values& x, int64_t row, int64_t width) {
  return std::span(x).subspan(static_cast<size_t>(row * width), static_cast<size_t>(width));
}
std::span<const double> row_of(const Values& x, int64_t row, int64_t width) {
  return std::span(x).subspan(static_cast<size_t>(row * width), static_cast<size_t>(width));
}
int64_t rows(const Values& x, int64_t width) { return static_cast<int64_t>(x.size()) / width; }

double inner(std::span<const double> a, std::span<const double> b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
}
double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }
double silu(double x) { return x * sigmoid(x); }

// H[i][j] = (-1)^popcount(i & j), over the root of its size.
void hadamard(std::span<double> row) {
  const Values x(row.begin(), row.end());
  for (size_t i = 0; i < row.size(); ++i) {
    double sum = 0;
    for (size_t j = 0; j < row.size(); ++j) sum += std::popcount(i & j) % 2 == 0 ? x[j] : -x[j];
    row[i] = exact_bf16(sum / std::sqrt(static_cast<double>(row.size())));
  }
}

std::vector<int64_t> first_positions(int64_t n, int64_t step = 1) {
  std::vector<int64_t> positions(static_cast<size_t>(n));
  for (size_t i = 0; i < positions.size(); ++i) positions[i] = static_cast<int64_t>(i) * step;
  return positions;
}

}  // namespace

double DoubleModel::nudged(double x, double size) {
  if (!noisy_) return x;
  return x + size * std::uniform_real_distribution<double>(-0x1p-22, 0x1p-22)(random_);
}

double DoubleModel::dot(std::span<const double> a, std::span<const double> b) {
  double sum = 0, squares = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double term = a[i] * b[i];
    sum += term;
    squares += term * term;
  }
  return nudged(sum, std::sqrt(squares));
}

double DoubleModel::bf16(double x) { return rounded(nudged(x, std::abs(x)), 7, -126); }

void DoubleModel::round_all(Values& x) {
  for (double& v : x) v = bf16(v);
}

const Values& DoubleModel::weight(const std::string& name) {
  const auto [found, is_new] = weights_.try_emplace(name);
  if (is_new) {
    const std::vector<float> numbers = expand(files_.at(name), files_.find(scale_name(name)));
    found->second.assign(numbers.begin(), numbers.end());
  }
  return found->second;
}

Values DoubleModel::product(Values x, int64_t k, const std::string& name) {
  const Values& w = weight(name);
  const std::string& dtype = files_.at(name).dtype;
  const int64_t n = rows(w, k);
  Values y;
  for (int64_t t = 0; t < rows(x, k); ++t) {
    if (dtype == "F8_E4M3" || dtype == "I8") simulate(row_of(x, t, k), Grid::kFp8, 128);
    for (int64_t i = 0; i < n; ++i) y.push_back(dot(row_of(std::as_const(x), t, k), row_of(w, i, k)));
  }
  return y;
}

Values DoubleModel::linear(const Values& x, int64_t k, const std::string& name) {
  Values y = product(x, k, name);
  round_all(y);
  return y;
}

Values DoubleModel::rms_norm(Values x, const std::string& name) {
  const Values& w = weight(name);
  const auto n = static_cast<int64_t>(w.size());
  for (int64_t t = 0; t < rows(x, n); ++t) {
    const auto row = row_of(x, t, n);
    const double r = 1 / std::sqrt(dot(row, row) / static_cast<double>(n) + c_.rms_norm_eps);
    for (size_t i = 0; i < row.size(); ++i) row[i] = bf16(row[i] * r * w[i]);
  }
  return x;
}

void DoubleModel::rotate(Values& x, int64_t width, int64_t heads, int ratio, std::span<const int64_t> positions,
                         double sign) {
  const int dims = c_.rope_head_dim;
  const double theta = ratio == 0 ? c_.rope_theta : c_.compress_rope_theta;
  const auto dim_of = [&](double turns) {
    return dims * std::log(c_.rope_original_context / (turns * 2 * std::numbers::pi)) / (2 * std::log(theta));
  };
  const double low = std::max(std::floor(dim_of(c_.rope_beta_fast)), 0.0);
  const double high = std::min(std::ceil(dim_of(c_.rope_beta_slow)), dims - 1.0);
  for (int i = 0; i < dims / 2; ++i) {
    // Every step in fp32, as in the release: the angle is part of the definition.
    const float exponent = static_cast<float>(2 * i) / static_cast<float>(dims);
    float frequency = 1.0f / static_cast<float>(std::pow(theta, static_cast<double>(exponent)));
    const auto ramp = static_cast<float>(std::clamp((i - low) / (high == low ? 0.001 : high - low), 0.0, 1.0));
    if (ratio != 0) frequency = frequency / static_cast<float>(c_.rope_factor) * ramp + frequency * (1.0f - ramp);
    for (int64_t r = 0; r < rows(x, width); ++r) {
      const double angle = static_cast<float>(positions[static_cast<size_t>(r / heads)]) * frequency;
      const auto pair = row_of(x, r, width).subspan(static_cast<size_t>(width - dims + 2 * i), 2);
      const double a = pair[0], b = pair[1], s = sign * std::sin(angle);
      pair[0] = bf16(a * std::cos(angle) - b * s);
      pair[1] = bf16(a * s + b * std::cos(angle));
    }
  }
}

DoubleModel::Mix DoubleModel::hc_pre(const Values& streams, const std::string& part) {
  const int64_t d = c_.hidden_size, m = c_.hc_mult;
  const Values &fn = weight(at_ + "hc_" + part + "_fn"), &base = weight(at_ + "hc_" + part + "_base"),
               &scale = weight(at_ + "hc_" + part + "_scale");
  Mix mix;
  for (int64_t t = 0; t < rows(streams, m * d); ++t) {
    const auto v = row_of(streams, t, m * d);
    const double r = 1 / std::sqrt(dot(v, v) / static_cast<double>(m * d) + c_.rms_norm_eps);
    const auto logit = [&](int64_t i, size_t group) {
      return dot(v, row_of(fn, i, m * d)) * r * scale[group] + base[static_cast<size_t>(i)];
    };
    Values pre, comb;
    for (int64_t j = 0; j < m; ++j) pre.push_back(sigmoid(logit(j, 0)) + c_.hc_eps);
    for (int64_t j = 0; j < m; ++j) mix.post.push_back(2 * sigmoid(logit(m + j, 1)));
    for (int64_t i = 0; i < m * m; ++i) comb.push_back(logit(2 * m + i, 2));
    for (int64_t j = 0; j < m; ++j) {
      const auto row = row_of(comb, j, m);
      const double most = *std::max_element(row.begin(), row.end());
      for (double& v1 : row) v1 = std::exp(v1 - most);
      const double sum = std::accumulate(row.begin(), row.end(), 0.0);
      for (double& v1 : row) v1 = v1 / sum + c_.hc_eps;
    }
    const auto normalise = [&](int64_t step,
                               int64_t line) {  // along rows: steps of 1, lines m apart; columns: the reverse
      for (int64_t a = 0; a < m; ++a) {
        double sum = c_.hc_eps;
        for (int64_t b = 0; b < m; ++b) sum += comb[static_cast<size_t>(a * line + b * step)];
        for (int64_t b = 0; b < m; ++b) comb[static_cast<size_t>(a * line + b * step)] /= sum;
      }
    };
    normalise(m, 1);
    for (int i = 1; i < c_.hc_sinkhorn_iters; ++i) {
      normalise(1, m);
      normalise(m, 1);
    }
    mix.comb.insert(mix.comb.end(), comb.begin(), comb.end());
    for (int64_t i = 0; i < d; ++i) {
      double sum = 0;
      for (int64_t j = 0; j < m; ++j) sum += pre[static_cast<size_t>(j)] * v[static_cast<size_t>(j * d + i)];
      mix.x.push_back(bf16(sum));
    }
  }
  mix.x = rms_norm(std::move(mix.x), at_ + part + "_norm.weight");
  return mix;
}

Values DoubleModel::hc_post(const Values& f, const Values& streams, const Mix& mix) {
  const int64_t d = c_.hidden_size, m = c_.hc_mult;
  Values out;
  for (int64_t t = 0; t < rows(f, d); ++t) {
    const auto comb = row_of(mix.comb, t, m * m), old = row_of(streams, t, m * d);
    for (int64_t k = 0; k < m; ++k) {
      for (int64_t i = 0; i < d; ++i) {
        double sum = row_of(mix.post, t, m)[static_cast<size_t>(k)] * row_of(f, t, d)[static_cast<size_t>(i)];
        for (int64_t j = 0; j < m; ++j)
          sum += comb[static_cast<size_t>(j * m + k)] * old[static_cast<size_t>(j * d + i)];
        out.push_back(bf16(sum));
      }
    }
  }
  return out;
}

// Entry w pools the tokens of block w; with overlap also those of the block before, by the first half of their
// channels.
Values DoubleModel::entries(const Values& x, int ratio, const std::string& where, int64_t width) {
  const bool overlap = ratio == 4;
  const int64_t all = overlap ? 2 * width : width;
  const Values values = product(x, c_.hidden_size, where + "wkv.weight");
  Values scores = product(x, c_.hidden_size, where + "wgate.weight");
  const Values& ape = weight(where + "ape");
  for (int64_t t = 0; t < rows(scores, all); ++t) {
    for (int64_t i = 0; i < all; ++i)
      row_of(scores, t, all)[static_cast<size_t>(i)] += row_of(ape, t % ratio, all)[static_cast<size_t>(i)];
  }
  Values out;
  for (int64_t w = 0; (w + 1) * ratio <= rows(values, all); ++w) {
    for (int64_t i = 0; i < width; ++i) {
      std::vector<size_t> pool;
      for (int64_t p = overlap && w > 0 ? (w - 1) * ratio : w * ratio; p < (w + 1) * ratio; ++p)
        pool.push_back(static_cast<size_t>(p * all + i + (overlap && p >= w * ratio ? width : 0)));
      double most = -std::numeric_limits<double>::infinity(), sum = 0, weighted = 0;
      for (const size_t at : pool) most = std::max(most, scores[at]);
      for (const size_t at : pool) {
        sum += std::exp(scores[at] - most);
        weighted += std::exp(scores[at] - most) * values[at];
      }
      out.push_back(bf16(weighted / sum));
    }
  }
  out = rms_norm(std::move(out), where + "norm.weight");
  const int64_t n = rows(out, width);
  rotate(out, width, 1, ratio, first_positions(n, ratio), 1);
  const bool keys = where.find("indexer") != std::string::npos;
  for (int64_t w = 0; w < n; ++w) {
    const auto row = row_of(out, w, width);
    if (keys) {
      hadamard(row);
      simulate(row, Grid::kFp4, 32);
    } else {
      simulate(row.first(static_cast<size_t>(width - c_.rope_head_dim)), Grid::kFp8, 64);
    }
  }
  return out;
}

std::vector<std::vector<int64_t>> DoubleModel::selected(const Values& x, const Values& q_rank, int ratio) {
  const int64_t tokens = rows(x, c_.hidden_size), heads = c_.index_n_heads, dim = c_.index_head_dim;
  std::vector<std::vector<int64_t>> chosen(static_cast<size_t>(tokens));
  Values q, g, keys;
  if (ratio == 4) {
    const std::string at = at_ + "attn.indexer.";
    q = linear(q_rank, c_.q_lora_rank, at + "wq_b.weight");
    rotate(q, dim, heads, ratio, first_positions(tokens), 1);
    for (int64_t r = 0; r < rows(q, dim); ++r) {
      hadamard(row_of(q, r, dim));
      simulate(row_of(q, r, dim), Grid::kFp4, 32);
    }
    g = linear(x, c_.hidden_size, at + "weights_proj.weight");
    keys = entries(x, ratio, at + "compressor.", dim);
  }
  for (int64_t t = 0; t < tokens && ratio > 0; ++t) {
    std::vector<int64_t>& list = chosen[static_cast<size_t>(t)] = first_positions((t + 1) / ratio);
    if (ratio != 4) continue;
    Values scores;
    for (const int64_t j : list) {
      double sum = 0;
      for (int64_t h = 0; h < heads; ++h) {
        const double weight =
            exact_bf16(g[static_cast<size_t>(t * heads + h)] / std::sqrt(static_cast<double>(dim * heads)));
        const double fit =
            exact_bf16(inner(row_of(std::as_const(q), t * heads + h, dim), row_of(std::as_const(keys), j, dim)));
        sum += exact_bf16(weight * std::max(fit, 0.0));
      }
      scores.push_back(exact_bf16(sum));
    }
    std::stable_sort(list.begin(), list.end(), [&](int64_t a, int64_t b) {
      return scores[static_cast<size_t>(a)] > scores[static_cast<size_t>(b)];
    });
    list.resize(std::min(list.size(), static_cast<size_t>(c_.index_topk)));
    std::sort(list.begin(), list.end());
  }
  return chosen;
}

// Blocks of 64 slots, the window's first, whether live or not; the weights of a block are rounded to bf16 under the
// maximum so far.
Values DoubleModel::attend(const Values& q, const Values& kv, const Values& cache,
                           const std::vector<std::vector<int64_t>>& chosen) {
  const int64_t dim = c_.head_dim, heads = c_.num_heads, window = c_.sliding_window;
  const Values& sink = weight(at_ + "attn.attn_sink");
  Values out;
  for (int64_t t = 0; t < rows(kv, dim); ++t) {
    std::vector<std::span<const double>> slots(static_cast<size_t>(window));
    const int64_t first = std::max<int64_t>(0, t - window + 1);
    for (int64_t p = first; p <= t; ++p) slots[static_cast<size_t>(p - first)] = row_of(kv, p, dim);
    for (const int64_t j : chosen[static_cast<size_t>(t)]) slots.push_back(row_of(cache, j, dim));
    for (int64_t h = 0; h < heads; ++h) {
      const auto query = row_of(q, t * heads + h, dim);
      double most = -std::numeric_limits<double>::infinity(), sum = 0;
      Values weighted(static_cast<size_t>(dim));
      for (size_t begin = 0; begin < slots.size(); begin += 64) {
        const auto block = std::span(slots).subspan(begin, std::min<size_t>(64, slots.size() - begin));
        Values scores;
        for (const auto& row : block)
          scores.push_back(row.empty() ? -std::numeric_limits<double>::infinity()
                                       : dot(query, row) / std::sqrt(static_cast<double>(dim)));
        const double before = most;
        for (const double s : scores) most = std::max(most, s);
        const double fade = std::isinf(before) ? 0 : std::exp(before - most);
        sum *= fade;
        for (double& v : weighted) v *= fade;
        for (size_t i = 0; i < block.size(); ++i) {
          if (block[i].empty()) continue;
          const double e = std::exp(scores[i] - most);
          sum += e;
          for (size_t k = 0; k < weighted.size(); ++k) weighted[k] += bf16(e) * block[i][k];
        }
      }
      for (const double v : weighted) out.push_back(bf16(v / (sum + std::exp(sink[static_cast<size_t>(h)] - most))));
    }
  }
  return out;
}

Values DoubleModel::attention(const Values& x, int ratio) {
  const int64_t d = c_.hidden_size, dim = c_.head_dim, heads = c_.num_heads, tokens = rows(x, d);
  const std::string at = at_ + "attn.";
  const std::vector<int64_t> positions = first_positions(tokens);
  const Values q_rank = rms_norm(linear(x, d, at + "wq_a.weight"), at + "q_norm.weight");
  Values q = linear(q_rank, c_.q_lora_rank, at + "wq_b.weight");
  for (int64_t r = 0; r < rows(q, dim); ++r) {
    const auto row = row_of(q, r, dim);
    double squares = 0;
    for (const double v : row) squares += exact_bf16(v * v);
    const double mean = bf16(squares / static_cast<double>(dim)), root = std::sqrt(exact_bf16(mean + c_.rms_norm_eps));
    for (double& v : row) v = exact_bf16(v * bf16(1 / root));
  }
  rotate(q, dim, heads, ratio, positions, 1);
  Values kv = rms_norm(linear(x, d, at + "wkv.weight"), at + "kv_norm.weight");
  rotate(kv, dim, 1, ratio, positions, 1);
  for (int64_t t = 0; t < tokens; ++t)
    simulate(row_of(kv, t, dim).first(static_cast<size_t>(dim - c_.rope_head_dim)), Grid::kFp8, 64);
  const Values cache = ratio == 0 ? Values{} : entries(x, ratio, at + "compressor.", dim);
  Values o = attend(q, kv, cache, selected(x, q_rank, ratio));
  rotate(o, dim, heads, ratio, positions, -1);

  // Each group of heads has its own rows in wo_a; the input of that product is not rounded.
  const int64_t in = heads * dim / c_.o_groups, rank = c_.o_lora_rank;
  const Values& wo_a = weight(at + "wo_a.weight");
  Values u;
  for (int64_t r = 0; r < rows(o, in); ++r) {
    for (int64_t i = 0; i < rank; ++i)
      u.push_back(bf16(dot(row_of(std::as_const(o), r, in), row_of(wo_a, r % c_.o_groups * rank + i, in))));
  }
  return linear(u, c_.o_groups * rank, at + "wo_b.weight");
}

Values DoubleModel::expert(const Values& x, const std::string& name, double weight) {
  const Values g = linear(x, c_.hidden_size, name + "w1.weight"), u = linear(x, c_.hidden_size, name + "w3.weight");
  Values inner;
  for (size_t i = 0; i < g.size(); ++i)
    inner.push_back(
        bf16(silu(std::min(g[i], c_.swiglu_limit)) * std::clamp(u[i], -c_.swiglu_limit, c_.swiglu_limit) * weight));
  return linear(inner, c_.moe_intermediate_size, name + "w2.weight");
}

Values DoubleModel::experts(const Values& x, std::span<const int32_t> ids, bool hashed) {
  const int64_t d = c_.hidden_size, n = c_.num_experts, k = c_.num_experts_per_token;
  const std::string at = at_ + "ffn.";
  Values scores = product(x, d, at + "gate.weight");
  for (double& s : scores) s = std::sqrt(std::log1p(std::exp(s)));
  Values out = expert(x, at + "shared_experts.", 1);
  for (int64_t t = 0; t < rows(x, d); ++t) {
    const auto score = row_of(std::as_const(scores), t, n);
    std::vector<int64_t> chosen = first_positions(n);
    if (hashed) {
      const auto row = row_of(weight(at + "gate.tid2eid"), ids[static_cast<size_t>(t)], k);
      chosen.assign(row.begin(), row.end());
    } else {
      const Values& bias = weight(at + "gate.bias");
      std::stable_sort(chosen.begin(), chosen.end(), [&](int64_t a, int64_t b) {
        const auto i = static_cast<size_t>(a), j = static_cast<size_t>(b);
        return score[i] + bias[i] > score[j] + bias[j];
      });
      chosen.resize(static_cast<size_t>(k));
    }
    double sum = 0;
    for (const int64_t e : chosen) sum += score[static_cast<size_t>(e)];
    const auto total = row_of(out, t, d);
    const auto one = row_of(x, t, d);
    for (const int64_t e : chosen) {
      const Values y = expert({one.begin(), one.end()}, at + "experts." + std::to_string(e) + ".",
                              score[static_cast<size_t>(e)] / sum * c_.routed_scaling_factor);
      for (size_t i = 0; i < y.size(); ++i) total[i] += y[i];
    }
  }
  for (double& v : out) v = exact_bf16(v);
  return out;
}

// Combines the token after each position with the streams of the model.
Values DoubleModel::mtp_streams(const Values& streams, std::span<const int32_t> ids) {
  const int64_t d = c_.hidden_size, m = c_.hc_mult;
  const Values copies = embedded(ids);
  Values tokens;
  for (int64_t t = 0; t < std::ssize(ids); ++t) {
    const auto row = row_of(copies, t * m, d);
    tokens.insert(tokens.end(), row.begin(), row.end());
  }
  const Values e = linear(rms_norm(tokens, at_ + "enorm.weight"), d, at_ + "e_proj.weight");
  Values out = linear(rms_norm(streams, at_ + "hnorm.weight"), d, at_ + "h_proj.weight");
  for (int64_t r = 0; r < rows(out, d); ++r) {
    for (int64_t i = 0; i < d; ++i)
      row_of(out, r, d)[static_cast<size_t>(i)] += row_of(e, r / m, d)[static_cast<size_t>(i)];
  }
  for (double& v : out) v = exact_bf16(v);
  return out;
}

Values DoubleModel::embedded(std::span<const int32_t> ids) {
  Values out;
  for (const int32_t id : ids) {
    const auto row = row_of(weight("embed.weight"), id, c_.hidden_size);
    for (int j = 0; j < c_.hc_mult; ++j) out.insert(out.end(), row.begin(), row.end());
  }
  return out;
}

DoubleModel::Layer DoubleModel::run(int layer, const Values& streams, std::span<const int32_t> ids) {
  const bool mtp = layer == c_.num_layers;
  at_ = mtp ? "mtp.0." : "layers." + std::to_string(layer) + ".";
  const Values in = mtp ? mtp_streams(streams, ids) : streams;
  Layer out;
  const Mix before_attn = hc_pre(in, "attn");
  out.attn = attention(before_attn.x, mtp ? 0 : c_.layer_ratio(layer));
  const Values between = hc_post(out.attn, in, before_attn);
  const Mix before_ffn = hc_pre(between, "ffn");
  out.ffn = experts(before_ffn.x, ids, layer < c_.num_hash_layers);
  out.out = hc_post(out.ffn, between, before_ffn);
  return out;
}

}  // namespace v4rt
