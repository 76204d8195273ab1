#include "graph/api/boundary.h"
#include "graph/api/host_filter.h"

using v4rt::Code;
using v4rt::api::check_flag;
using v4rt::api::check_reserved;
using v4rt::api::guarded;
using v4rt::api::require;

v4rt::api::GivenSampler v4rt::api::read_sampler(const v4rt_sampler_options* options, int64_t vocab_size) {
  const auto o = read_options(options, "v4rt_sampler_options");
  check_reserved(o.reserved, "v4rt_sampler_options");
  check_flag(o.logprobs, "v4rt_sampler_options.logprobs");
  if (o.n_logit_bias > 0) require(o.logit_bias, "v4rt_sampler_options: logit_bias");
  SamplerOptions chosen = {.temperature = o.temperature,
                           .top_p = o.top_p == 0 ? 1.0f : o.top_p,
                           .seed = o.seed,
                           .top_k = o.top_k,
                           .min_p = o.min_p,
                           .repetition_penalty = o.repetition_penalty == 0 ? 1.0f : o.repetition_penalty,
                           .presence_penalty = o.presence_penalty,
                           .frequency_penalty = o.frequency_penalty};
  for (size_t i = 0; i < o.n_logit_bias; ++i) chosen.logit_bias.emplace_back(o.logit_bias[i].id, o.logit_bias[i].bias);
  if (o.logprobs != 0) chosen.logprobs = o.top_logprobs;
  if (o.filter == nullptr) return {std::move(chosen)};
  auto filter = std::make_shared<HostFilter>(o.filter, o.filter_user, vocab_size);
  chosen.filter = [filter] { return std::make_unique<HostTokenFilter>(filter); };
  return {std::move(chosen), std::move(filter)};
}

v4rt_status v4rt_sampler_open(const v4rt_model* model, const v4rt_sampler_options* options, v4rt_sampler** sampler) {
  return guarded([&] {
    require(model, "v4rt_sampler_open: model");
    require(sampler, "v4rt_sampler_open: sampler");
    const int64_t vocab_size = model->model->config().vocab_size;
    *sampler = new v4rt_sampler{v4rt::Sampler(v4rt::api::read_sampler(options, vocab_size).options, vocab_size),
                                static_cast<size_t>(vocab_size)};
  });
}

void v4rt_sampler_close(v4rt_sampler* sampler) { delete sampler; }

v4rt_status v4rt_sampler_sample(v4rt_sampler* sampler, const float* logits, size_t n_logits, int32_t* id) {
  return guarded([&] {
    require(sampler, "v4rt_sampler_sample: sampler");
    require(logits, "v4rt_sampler_sample: logits");
    require(id, "v4rt_sampler_sample: id");
    v4rt::check(n_logits == sampler->vocab_size, Code::kInvalidArgument,
                "v4rt_sampler_sample: {} logits; the sampler's model has {}", n_logits, sampler->vocab_size);
    *id = sampler->sampler.sample({logits, n_logits});
  });
}

v4rt_status v4rt_sampler_begin(v4rt_sampler* sampler, const int32_t* tokens, size_t n_tokens) {
  return guarded([&] {
    require(sampler, "v4rt_sampler_begin: sampler");
    if (n_tokens > 0) require(tokens, "v4rt_sampler_begin: tokens");
    sampler->sampler.begin({tokens, n_tokens});
  });
}

v4rt_status v4rt_sampler_forget(v4rt_sampler* sampler) {
  return guarded([&] {
    require(sampler, "v4rt_sampler_forget: sampler");
    sampler->sampler.forget();
  });
}

v4rt_status v4rt_sampler_logprobs(const v4rt_sampler* sampler, const v4rt_token_logprob** logprobs, size_t* n) {
  static_assert(sizeof(v4rt_token_logprob) == sizeof(v4rt::TokenLogprob));
  return guarded([&] {
    require(sampler, "v4rt_sampler_logprobs: sampler");
    require(logprobs, "v4rt_sampler_logprobs: logprobs");
    require(n, "v4rt_sampler_logprobs: n");
    const std::span<const v4rt::TokenLogprob> all = sampler->sampler.logprobs();
    *logprobs = reinterpret_cast<const v4rt_token_logprob*>(all.data());
    *n = all.size();
  });
}
