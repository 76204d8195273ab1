#pragma once

// Shared by the parts of the V4 model. Private to graph/model.

#include <map>
#include <string>
#include <string_view>

#include "graph/ir/builder.h"
#include "graph/model/v4_model.h"
#include "ops/attention/row_format.h"
#include "ops/hyper/hyper.h"
#include "ops/norm/norm.h"
#include "ops/rope/rope.h"

namespace v4rt {

struct LayerPlan {
  std::string label;   // "L03", "mtp": scope of node names
  std::string prefix;  // "layers.3.", "mtp.0.": of weight names
  int ratio = 0;       // 0, 4 or 128
  bool hash = false;   // routes by token id
};

LayerPlan layer_plan(const V4Config& config, int layer);
LayerPlan mtp_plan(const V4Config& config);
HyperSpec hyper_spec(const V4Config& config);

struct V4Builder {
  const WeightSource& source;
  const V4Config& config;  // the source's
  const GraphOptions& options;
  Builder g;
  std::map<std::string, ValueId, std::less<>> weights;  // shared weights enter the graph once
  std::map<ValueId, ValueId> rounded;                   // and so does a rounded value that several products read

  bool faithful() const { return options.numbers == NumberMode::kFaithful; }
  DType activation() const { return faithful() ? DType::kBF16 : DType::kF32; }
  RopeTable rope(int ratio) const;
  RowFormat kv_format() const;
  RowFormat index_format() const;

  ValueId weight(const std::string& name);
  // Rounds x to FP8 in blocks of 128, as the release does before a product with weights stored in FP8 or FP4. Does
  // nothing in plain mode, or for weights stored in more bits (spec section 3.6).
  ValueId quantised(std::string_view name, ValueId x, std::initializer_list<std::string_view> for_weights);
  // quantised() and the product; `heads` shapes the output (ops/linear/linear.h).
  ValueId linear(std::string_view name, ValueId x, const std::string& weight_name, int heads = 0);
};

struct HyperMix {
  ValueId x, mix;
};

// part: "attn" or "ffn"
HyperMix hc_pre(V4Builder& m, const LayerPlan& layer, std::string_view part, ValueId streams);
ValueId hc_post(V4Builder& m, std::string_view part, ValueId f, ValueId streams, ValueId mix);

ValueId v4_attention(V4Builder& m, const LayerPlan& layer, ValueId x);
ValueId v4_moe(V4Builder& m, const LayerPlan& layer, ValueId x, ValueId ids);

}  // namespace v4rt
