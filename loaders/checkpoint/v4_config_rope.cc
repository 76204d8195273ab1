#include "loaders/checkpoint/v4_config_rope.h"

#include <cmath>

#include "ops/core/error.h"

namespace v4rt {
namespace {

constexpr double kMinTheta = 1.0 + 1e-6, kMaxTheta = 1e12;  // the base of a logarithm

// "default" if the object has neither of the two keys for it.
Json rope_type(const Fields& f) {
  const Json *type = f.find("type"), *newer = f.find("rope_type");
  check(type == nullptr || newer == nullptr || *type == *newer, Code::kCorrupt,
        "{}: 'type' is {}, but 'rope_type' is {}; remove the wrong one", f.source(),
        type == nullptr ? "" : shown(*type), newer == nullptr ? "" : shown(*newer));
  if (newer != nullptr) return *newer;
  return type != nullptr ? *type : Json("default");
}

// Another way of saying qk_rope_head_dim: the share of a head that rotates.
void check_rotary_share(const Fields& f, const V4Config& c) {
  const Json* value = f.find("partial_rotary_factor");
  if (value == nullptr) return;
  const double share = f.number("partial_rotary_factor", 0, 1);
  check(
      std::lround(share * c.head_dim) == c.rope_head_dim, Code::kUnsupported,
      "{}: 'partial_rotary_factor' is {}, which leaves {} of 'head_dim' {}; 'qk_rope_head_dim' is {}; remove the wrong "
      "one",
      f.source(), shown(*value), share * c.head_dim, c.head_dim, c.rope_head_dim);
}

// In V4, YaRN's factor on cos and sin is always 1, and its ramp begins and ends at whole dimensions.
void read_scaling(const Fields& f, V4Config& c) {
  const Json type = rope_type(f);
  check(type == "default" || type == "yarn", Code::kUnsupported, "{}: type is {}; only yarn is supported", f.source(),
        shown(type));
  check_rotary_share(f, c);
  f.expect("attention_factor", 1);
  f.expect("truncate", true);
  if (type == "yarn") {
    c.rope_factor = f.number("factor", 1.0, 1e4);
    c.rope_original_context = static_cast<int>(f.integer("original_max_position_embeddings", 1, int64_t{1} << 21));
    c.rope_beta_fast = f.number("beta_fast", 1e-3, 1e6, 32);
    c.rope_beta_slow = f.number("beta_slow", 1e-3, 1e6, 1);
    check(c.rope_beta_slow < c.rope_beta_fast, Code::kCorrupt, "{}: beta_slow ({}) must be less than beta_fast ({})",
          f.source(), c.rope_beta_slow, c.rope_beta_fast);
  }
  f.check_all_known();
}

// One object for layers that do not compress, one for those that do. Their bases win over the keys outside, which
// transformers fills with the defaults of its class.
void read_parameters(const Fields& f, V4Config& c) {
  const Fields main = f.child("main"), compress = f.child("compress");
  f.check_all_known();
  const Json type = rope_type(main);
  check(type == "default", Code::kUnsupported,
        "{}: type is {}; DeepSeek-V4 scales nothing in layers that do not compress", main.source(), shown(type));
  check_rotary_share(main, c);
  c.rope_theta = main.number("rope_theta", kMinTheta, kMaxTheta, c.rope_theta);
  main.check_all_known();
  c.compress_rope_theta = compress.number("rope_theta", kMinTheta, kMaxTheta, c.compress_rope_theta);
  read_scaling(compress, c);
}

}  // namespace

void read_rope(const Fields& f, V4Config& c) {
  check_rotary_share(f, c);
  c.rope_theta = f.number("rope_theta", kMinTheta, kMaxTheta, 10000);
  c.compress_rope_theta = f.number("compress_rope_theta", kMinTheta, kMaxTheta, 160000);
  c.rope_original_context = static_cast<int>(c.max_position);
  const bool scaling = f.find("rope_scaling") != nullptr, parameters = f.find("rope_parameters") != nullptr;
  check(!scaling || !parameters, Code::kCorrupt,
        "{}: has 'rope_scaling' and 'rope_parameters', which say the same thing; remove one", f.source());
  if (scaling) read_scaling(f.child("rope_scaling"), c);
  if (parameters) read_parameters(f.child("rope_parameters"), c);
}

}  // namespace v4rt
