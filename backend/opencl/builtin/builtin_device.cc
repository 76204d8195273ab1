#include "backend/opencl/builtin/builtin_device.h"

#include <array>

namespace v4rt {
namespace {

std::span<const BuiltinEntry> table() {
  static const std::array entries{kBuiltinLinear, kBuiltinRepack};
  return entries;
}

}  // namespace

BuiltinDevice::BuiltinDevice(const OpenclSite& site, const Capabilities& capabilities, const std::string& name,
                             FastOptions fast, const OpenclLoan& loan)
    : TableDevice(table(), std::move(fast)),
      site_(site),
      info_(device_info(capabilities, name)),
      context_(open_context(site, loan, name)),
      lent_queue_(retain_queue(loan, name)),
      product_(*product_among(capabilities.builtin_kernels)) {
  budget_->limit = capabilities.memory;
  function_ = std::make_unique<BuiltinFunction>(context_.get(), site_.device, product_, info_.name);
  check_product();
}

std::unique_ptr<OpenclQueue> BuiltinDevice::open_queue() const {
  return std::make_unique<OpenclQueue>(context_.get(), site_.device, info_.name, lent_queue_.get());
}

// Whole numbers are exact in any order of sums: three matrices that are not square, so that nothing can be mistaken for
// its transpose.
void BuiltinDevice::check_product() {
  constexpr size_t kM = 32, kN = 16, kK = 48;
  const auto whole = [](size_t i) { return static_cast<float>(static_cast<int>(i * 7 % 11) - 5); };
  std::vector<float> a(kM * kK), b(kK * kN), c(kM * kN);
  for (size_t i = 0; i < a.size(); ++i) a[i] = whole(i);
  for (size_t i = 0; i < b.size(); ++i) b[i] = whole(i + 3);
  const auto queue = open_queue();
  const auto range = [&](const BufferPtr& buffer) {
    return BuiltinFunction::Range{memory_of(*buffer).object, 0, buffer->bytes()};
  };
  const auto on_device = [&](const std::vector<float>& values) {
    BufferPtr buffer = allocate(values.size() * sizeof(float));
    queue->upload(*buffer, 0, std::as_bytes(std::span(values)));
    return buffer;
  };
  const BufferPtr at_a = on_device(a), at_b = on_device(b), at_c = on_device(c);
  (*function_)(*queue, range(at_a), range(at_b), range(at_c), kM, kN, kK);
  queue->download(std::as_writable_bytes(std::span(c)), *at_c, 0);
  for (size_t i = 0; i < kM * kN; ++i) {
    float right = 0;
    for (size_t k = 0; k < kK; ++k) right += a[i / kN * kK + k] * b[k * kN + i % kN];
    check(c[i] == right, Code::kUnsupported,
          "{}: {}: its {} is wrong: [{}, {}] of a product of whole numbers is {}, not {}", info_.name,
          info_.description, product_.name, i / kN, i % kN, c[i], right);
  }
}

}  // namespace v4rt
