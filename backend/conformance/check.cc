#include "backend/conformance/check.h"

#include "backend/conformance/runner.h"
#include "backend/reference/reference_device.h"

namespace v4rt {
namespace {

std::string difference(const std::vector<std::byte>& a, const std::vector<std::byte>& b) {
  if (a.size() != b.size()) return fmt::format("{} and {} bytes", a.size(), b.size());
  size_t count = 0, first = a.size();
  for (size_t i = 0; i < a.size(); ++i) {
    if (a[i] == b[i]) continue;
    ++count;
    first = std::min(first, i);
  }
  return fmt::format("{} of {} bytes differ, first at {}", count, a.size(), first);
}

// Results of both devices for the same data, NaNs without payloads if `one_nan`.
class Pair {
 public:
  Pair(Device& device, const Case& c, std::vector<std::string>& problems)
      : reference_(create_reference_device()), device_(device), case_(c), problems_(problems) {}

  void compare(const CaseData& data, int runs, bool one_nan, const std::string& where) {
    const auto expected = run(*reference_, data, one_nan);
    for (int i = 0; i < runs; ++i) {
      const auto actual = run(device_, data, one_nan, /*held=*/i > 0);
      for (size_t o = 0; o < expected.size(); ++o)
        if (actual[o].bytes != expected[o].bytes)
          problems_.push_back(fmt::format("{}output {}: {}", where, o, difference(actual[o].bytes, expected[o].bytes)));
    }
  }

 private:
  std::vector<Result> run(Device& device, const CaseData& data, bool one_nan, bool held = false) {
    std::vector<Result> results = run_case(device, case_, data, held, problems_);
    for (Result& result : results)
      if (one_nan) result = without_payloads(std::move(result));
    return results;
  }

  std::shared_ptr<Device> reference_;
  Device& device_;
  const Case& case_;
  std::vector<std::string>& problems_;
};

}  // namespace

std::vector<std::string> check_case(Device& device, const Case& c) {
  std::vector<std::string> problems;
  Pair pair(device, c, problems);
  pair.compare(make_data(c), 2, /*one_nan=*/false, "");
  for (const Unusual& unusual : unusual_data(c))
    if (device.info().subnormals || unusual.kind != Unusual::Kind::kSubnormal)
      pair.compare(make_data(c, unusual), 1, /*one_nan=*/true, unusual.describe() + ": ");
  return problems;
}

}  // namespace v4rt
