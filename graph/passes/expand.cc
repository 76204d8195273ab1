#include "graph/passes/expand.h"

namespace v4rt {
namespace {

DeviceRequest request_of_part(const DeviceRequest& whole, const OpPart& part, const std::vector<TensorType>& made) {
  DeviceRequest request{.op = part.op};
  for (const OpPart::From& from : part.inputs) {
    const auto at = static_cast<size_t>(from.input);
    request.inputs.push_back(from.input < 0 ? made[static_cast<size_t>(-1 - from.input)]
                                            : range_of(whole.inputs[at], from.range));
    request.constant.push_back(from.input >= 0 && whole.constant[at]);
  }
  request.outputs = part.op->infer(request.inputs);
  return request;
}

ValueId append_value(Graph& graph, Value value) {
  graph.values.push_back(std::move(value));
  return static_cast<ValueId>(graph.values.size()) - 1;
}

}  // namespace

std::optional<Expansion> expand(const Device& device, int device_index, const DeviceRequest& request) {
  const size_t most = device.info().max_allocation;
  if (most == 0) return std::nullopt;
  Expansion expansion{.parts = request.op->expand(request.inputs, most)};
  for (const OpPart& part : expansion.parts) {
    const DeviceRequest wanted = request_of_part(request, part, expansion.made);
    Offer offer = ask(device, wanted);
    if (!offer.support) return std::nullopt;
    expansion.made.push_back(wanted.outputs[0]);
    expansion.choices.push_back(
        {device_index, offer.support.kernel, std::move(offer.inputs), std::move(offer.support.reason)});
  }
  if (expansion.parts.empty()) return std::nullopt;
  return expansion;
}

void append_parts(Graph& graph, const Node& node, const Expansion& expansion) {
  std::vector<ValueId> made;
  for (size_t p = 0; p < expansion.parts.size(); ++p) {
    const OpPart& part = expansion.parts[p];
    const auto id = static_cast<NodeId>(graph.nodes.size());
    Node small{.op = part.op, .in = {}, .out = {}, .name = fmt::format("{}.{}", node.name, p)};
    for (const OpPart::From& from : part.inputs) {
      if (from.input < 0) {
        small.in.push_back(made[static_cast<size_t>(-1 - from.input)]);
        continue;
      }
      ValueId in = node.in[static_cast<size_t>(from.input)];
      if (from.range.count > 0) {
        const Value& whole = graph.value(in);
        in = append_value(graph, {.type = range_of(whole.type, from.range),
                                  .origin = whole.origin,
                                  .name = whole.name,
                                  .range = from.range});
      }
      small.in.push_back(in);
    }
    if (p + 1 == expansion.parts.size()) {
      made.push_back(node.out[0]);
      graph.values[static_cast<size_t>(node.out[0])].node = id;
    } else {
      made.push_back(append_value(graph, {.type = expansion.made[p], .name = small.name, .node = id}));
    }
    small.out = {made.back()};
    graph.nodes.push_back(std::move(small));
  }
}

}  // namespace v4rt
