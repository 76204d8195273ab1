#include "backend/device.h"

namespace v4rt {

std::unique_ptr<Kernel> Device::compile(const OpCall& call) {
  const Support support = supports(call);
  check(support.ok, Code::kUnsupported, "{} refuses {}: {}", info().name, call.op.describe(), support.reason);
  return make(call, support.kernel);
}

}  // namespace v4rt
