#include "examples/server/plan_summary.h"

#include <algorithm>
#include <map>

#include "graph/runtime/report.h"

namespace v4rt::server {
namespace {

struct Share {
  int64_t launches = 0;
  double bytes = 0, flops = 0;
};

}  // namespace

OrderedJson plan_summary(const Model& model) {
  const int64_t position = model.options().context - 1;
  const Explanation step(model, 1, position);
  std::map<std::string, std::map<std::string, Share>> shares;  // by device and op
  for (const ExplainRow& row : step.rows) {
    Share& share = shares[row.device][row.op];
    ++share.launches;
    share.bytes += row.weight_bytes + row.state_bytes + row.io_bytes;
    share.flops += row.flops;
  }
  OrderedJson devices = OrderedJson::array();
  for (const auto& device : step.plan.devices) {
    std::vector<std::pair<std::string, Share>> ops(shares[device->info().name].begin(),
                                                   shares[device->info().name].end());
    std::ranges::stable_sort(ops, std::greater(), [](const auto& op) { return op.second.bytes; });
    OrderedJson list = OrderedJson::array();
    for (const auto& [op, share] : ops)
      list.push_back({{"op", op}, {"launches", share.launches}, {"bytes", share.bytes}, {"flops", share.flops}});
    devices.push_back(
        {{"name", device->info().name}, {"description", device->info().description}, {"ops", std::move(list)}});
  }
  return {{"devices", std::move(devices)},        {"position", position},
          {"slots", model.options().slots},       {"context", model.options().context},
          {"weight_bytes", model.weight_bytes()}, {"state_bytes", model.state_bytes()},
          {"refusals", step.plan.refusals}};
}

}  // namespace v4rt::server
