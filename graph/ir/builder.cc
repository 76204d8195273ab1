#include "graph/ir/builder.h"

namespace v4rt {

std::string Builder::scoped(std::string_view name) const {
  std::string path;
  for (const std::string& scope : scopes_) path += scope + ".";
  return path.append(name);
}

ValueId Builder::append(Value value) {
  graph_.values.push_back(std::move(value));
  return static_cast<ValueId>(graph_.values.size()) - 1;
}

ValueId Builder::input(std::string name, TensorType type) {
  return append({.type = type, .origin = Origin::kInput, .name = std::move(name)});
}

ValueId Builder::weight(std::string name, TensorType type) {
  const ValueId known = graph_.find(name, Origin::kWeight);
  if (known < 0) return append({.type = type, .origin = Origin::kWeight, .name = std::move(name)});
  check(graph_.value(known).type == type, Code::kInternal, "weight {} is asked for as {} and as {}", name,
        to_string(graph_.value(known).type), to_string(type));
  return known;
}

ValueId Builder::state(std::string name, TensorType type) {
  return append({.type = type, .origin = Origin::kState, .name = std::move(name)});
}

std::vector<ValueId> Builder::emit(std::string_view name, OpPtr op, std::span<const ValueId> in) {
  const std::string path = scoped(name);
  std::vector<TensorType> types;
  for (const ValueId id : in) {
    check(id >= 0 && static_cast<size_t>(id) < graph_.values.size(), Code::kInternal, "{}: there is no value {}", path,
          id);
    types.push_back(graph_.value(id).type);
  }
  std::vector<TensorType> made;
  try {
    made = op->infer(types);
  } catch (const Error& error) {
    fail(error.code(), "{}: {}", path, error.what());
  }
  const auto node = static_cast<NodeId>(graph_.nodes.size());
  std::vector<ValueId> out;
  for (size_t i = 0; i < made.size(); ++i) {
    out.push_back(append({.type = made[i],
                          .origin = Origin::kNode,
                          .name = i == 0 ? path : fmt::format("{}:{}", path, i),
                          .node = node,
                          .output = static_cast<int>(i)}));
  }
  graph_.nodes.push_back({std::move(op), {in.begin(), in.end()}, out, path});
  return out;
}

}  // namespace v4rt
