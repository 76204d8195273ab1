#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "graph/ir/graph.h"

namespace v4rt {

// Adds nodes to a graph, inferring types. Names of nodes are prefixed by the open scopes: scope "L03", then "attn" ->
// "L03.attn.<name>". Inputs, weights and states are bound by the name as given.
class Builder {
 public:
  ValueId input(std::string name, TensorType type);
  ValueId weight(std::string name, TensorType type);  // asking again gives the same value
  ValueId state(std::string name, TensorType type);   // its first version

  template <class OpT, class... Args>
  ValueId add(std::string_view name, std::initializer_list<ValueId> in, Args&&... args) {
    return emit(name, std::make_shared<const OpT>(std::forward<Args>(args)...), in).front();
  }
  // All outputs. Throws Error naming the node when the op refuses its inputs.
  std::vector<ValueId> emit(std::string_view name, OpPtr op, std::span<const ValueId> in);
  std::vector<ValueId> emit(std::string_view name, OpPtr op, std::initializer_list<ValueId> in) {
    return emit(name, std::move(op), std::span<const ValueId>(in.begin(), in.size()));
  }

  void output(std::string name, ValueId value) { graph_.outputs.push_back({std::move(name), value}); }
  const TensorType& type(ValueId id) const { return graph_.value(id).type; }

  class Scope {
   public:
    Scope(Builder& builder, std::string_view name) : builder_(builder) { builder_.scopes_.emplace_back(name); }
    ~Scope() { builder_.scopes_.pop_back(); }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    Builder& builder_;
  };
  Scope scope(std::string_view name) { return Scope(*this, name); }

  Graph take() { return std::move(graph_); }

 private:
  std::string scoped(std::string_view name) const;
  ValueId append(Value value);
  Graph graph_;
  std::vector<std::string> scopes_;
};

}  // namespace v4rt
