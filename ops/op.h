#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ops/core/error.h"
#include "ops/core/step.h"
#include "ops/core/tensor.h"

namespace v4rt {

class RefContext;

enum class OpKind : uint8_t {
  // basic
  kEmbedRows,
  kTakeLast,
  kAddStreams,
  // dense algebra
  kLinear,
  kRmsNorm,
  kHeadRms,
  kRopeTail,
  kFakeQuant,
  kHadamard,
  // attention
  kRingAppend,
  kCompressPool,
  kIndexSelect,
  kAttend,
  // hyper-connections
  kHcPre,
  kHcPost,
  kHcHead,
  // mixture of experts
  kRouteTopK,
  kRouteHash,
  kSwiglu,
  kMoeGateUp,
  kMoeDown,
  // weights
  kRepack,
  kCount,
};

std::string_view name(OpKind kind);  // "rms_norm"

// What one execution touches, for plans, benchmarks and reports. FLOP = 2 per multiply-accumulate.
struct Cost {
  double flops = 0;
  double weight_bytes = 0;  // read from weights, scales included
  double state_bytes = 0;   // read from and written to caches
  double io_bytes = 0;      // activations in and out
};

// Output `output` is the same memory as input `input`, changed in place.
struct Alias {
  int output, input;
};

// An op says what is computed: shapes, meaning, cost. It knows no device and holds nothing but its attributes.
class Op {
 public:
  virtual ~Op() = default;
  virtual OpKind kind() const = 0;
  virtual std::string describe() const = 0;  // "rms_norm{eps=1e-06}": unique per attributes; test names, cache keys
  virtual std::vector<TensorType> infer(std::span<const TensorType> in) const = 0;  // throws Error on bad inputs
  virtual void reference(RefContext& context) const = 0;  // the meaning, bit for bit; plain loops
  virtual Cost cost(std::span<const TensorType> in, const Step& step) const = 0;
  virtual std::span<const Alias> aliases() const { return {}; }
};

template <OpKind K>
class OpOf : public Op {
 public:
  static constexpr OpKind kKind = K;
  OpKind kind() const final { return K; }
};

using OpPtr = std::shared_ptr<const Op>;

struct OpCall {
  const Op& op;
  std::span<const TensorType> inputs, outputs;
};

// Activations are BF16 (faithful: every value is rounded when it is stored) or F32 (plain).
inline bool is_activation(DType dtype) { return dtype == DType::kBF16 || dtype == DType::kF32; }

}  // namespace v4rt
