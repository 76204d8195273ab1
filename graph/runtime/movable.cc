#include "graph/runtime/movable.h"

#include <algorithm>
#include <set>

namespace v4rt {
namespace {

struct Unit {
  Movable movable;
  bool sparse;                    // a token reads little of it
  std::set<std::string> counted;  // weights and states
};

bool reads(const Launch& launch, Role role) {
  for (size_t i = 0; i < static_cast<size_t>(launch.n_inputs); ++i)
    if (launch.op->input(i).role == role) return true;
  return false;
}

// "L03.ffn.experts.*" of "L03.ffn.experts.down"; parts of an expanded node are numbered, "L03.ffn.experts.down.0".
std::string siblings(std::string_view node) {
  std::string_view scope = node.substr(0, node.rfind('.'));
  if (node.find_first_not_of("0123456789", scope.size() + 1) == std::string_view::npos)
    scope = scope.substr(0, scope.rfind('.'));
  return std::string(scope) + ".*";
}

Unit unit_of(const Launch& launch) {
  const std::string& node = launch.node;
  if (reads(launch, Role::kExperts)) return {{siblings(node)}, true, {}};
  const size_t dot = node.find('.');
  if (dot == std::string::npos) return {{node}, reads(launch, Role::kTable), {}};
  return {{node.substr(0, dot) + ".*"}, false, {}};
}

}  // namespace

std::vector<Movable> movable_from(int device, std::span<const Plan* const> plans,
                                  const std::function<size_t(const Slot& slot)>& held) {
  std::vector<Unit> units;
  for (const Plan* plan : plans) {
    for (const PlanStep& step : plan->steps) {
      const auto* launch = std::get_if<Launch>(&step);
      if (launch == nullptr || launch->device != device) continue;
      Unit made = unit_of(*launch);
      auto unit = std::ranges::find(units, made.movable.pattern, [](const Unit& u) { return u.movable.pattern; });
      if (unit == units.end()) unit = units.insert(units.end(), std::move(made));
      for (const SlotId id : launch->args) {
        const Slot& slot = plan->slots[static_cast<size_t>(id)];
        const bool kept = slot.storage == Storage::kWeight || slot.storage == Storage::kState;
        if (kept && unit->counted.insert(fmt::format("{} {}", slot.name, slot.range.first)).second)
          unit->movable.bytes += held(slot);
      }
    }
  }
  std::erase_if(units, [](const Unit& unit) { return unit.movable.bytes == 0; });
  std::reverse(units.begin(), units.end());
  std::stable_partition(units.begin(), units.end(), [](const Unit& unit) { return unit.sparse; });
  std::vector<Movable> movable;
  for (Unit& unit : units) movable.push_back(std::move(unit.movable));
  return movable;
}

}  // namespace v4rt
