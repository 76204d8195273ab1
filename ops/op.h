#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ops/attention/row_format.h"
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
  kRingRead,
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
  kMoeDownParts,
  kMoeSum,
  // weights
  kRepack,
  kCount,   // of the kinds above
  kCustom,  // a host program's own (backend/custom_op.h)
};

std::string_view name(OpKind kind);  // "rms_norm"

// The work of one execution and the bytes it touches, for plans, benchmarks and reports. FLOP = 2 per
// multiply-accumulate.
struct Cost {
  double flops = 0;
  double weight_bytes = 0;  // read from weights, scales included
  double state_bytes = 0;   // read from and written to caches
  double io_bytes = 0;      // activations in and out
};

// What an input of an op is. Passes, loaders and reports ask this and never switch on OpKind.
enum class Role : uint8_t {
  kActivation,  // rows of tokens: numbers, or ids of tokens, experts and cache rows
  kWeight,      // a small weight that is read whole: norms, biases, sinks, mixing matrices
  kMatrix,      // a weight [N, K] that rows are multiplied with; a device may want another layout
  kExperts,     // a stack [E, N, K] of such matrices; a token reads those named by its ids
  kTable,       // a weight whose rows are looked up by ids; if it is I32, output 0 holds the rows found
  kState,       // what a sequence keeps for its next tokens
};

// The rows of a state [slots, rows, ...]: one per `positions` positions of the sequence, all of which the op may read;
// or, of a ring, row p mod rows for position p, of which the op reads those from first(p) on when the next position is
// p.
struct StateRows {
  static constexpr int64_t kEvery = INT64_MAX;

  RowFormat format;
  int positions = 1;
  int64_t back = kEvery;  // of a ring: the positions read before the block of `block` positions that p is in
  int block = 1;

  bool ring() const { return back != kEvery; }
  int64_t first(int64_t p) const { return std::max<int64_t>(0, p - p % block - back); }
};

struct Input {
  Role role = Role::kActivation;
  int ids = -1;    // kExperts, kTable: the input with the ids
  StateRows rows;  // kState
};

// Indices [first, first + count) of a weight's leading dimension; all of them when count is 0.
struct WeightRange {
  int64_t first = 0, count = 0;
  bool operator==(const WeightRange&) const = default;
};
TensorType range_of(const TensorType& weight, const WeightRange& range);

class Op;
using OpPtr = std::shared_ptr<const Op>;

// One of the smaller ops that an op can be rewritten as. Its inputs are inputs of the whole op (of a weight perhaps
// only a range), or outputs of earlier parts.
struct OpPart {
  struct From {
    int input = 0;  // of the whole op; -1 - n: output 0 of part n
    WeightRange range;
  };
  OpPtr op;
  std::vector<From> inputs;
};

// Output `output` has the memory of input `input`, which is changed in place.
struct Alias {
  int output, input;
};

// An op defines what is computed: shapes, meaning, cost. It knows nothing about devices and holds only its attributes.
class Op {
 public:
  virtual ~Op() = default;
  virtual OpKind kind() const = 0;
  virtual std::string describe() const = 0;     // "rms_norm{eps=1e-06}": unique per attributes; test names, cache keys
  virtual Input input(size_t index) const = 0;  // for every index that infer() accepts
  virtual std::vector<TensorType> infer(std::span<const TensorType> in) const = 0;  // throws Error on bad inputs
  virtual void reference(RefContext& context) const = 0;              // the meaning, bit for bit; plain loops
  Cost cost(std::span<const TensorType> in, const Step& step) const;  // work() plus the weights, by their roles
  virtual std::span<const Alias> aliases() const { return {}; }
  // For devices that refuse the whole op: parts whose weights take at most `max_bytes` each. The last one makes the
  // same output 0, bit for bit. Empty if that is not possible.
  virtual std::vector<OpPart> expand(std::span<const TensorType> in, size_t max_bytes) const {
    return (void)in, (void)max_bytes, std::vector<OpPart>();
  }

 protected:
  virtual Cost work(std::span<const TensorType> in, const Step& step) const = 0;  // all of a Cost but weight_bytes
};

template <OpKind K>
class OpOf : public Op {
 public:
  static constexpr OpKind kKind = K;
  OpKind kind() const final { return K; }
};

struct OpCall {
  const Op& op;
  std::span<const TensorType> inputs, outputs;
};

// Activations are BF16 (faithful: every value is rounded when it is stored) or F32 (plain).
inline bool is_activation(DType dtype) { return dtype == DType::kBF16 || dtype == DType::kF32; }

}  // namespace v4rt
