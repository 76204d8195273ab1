// The same bits on every machine: the receipts of tests/data/receipts hold on every device that is here. They compare
// processors with and without a matrix unit, drivers and compilers across machines. When an op gets another order of
// sums, make.sh beside them makes them anew.

#include <gtest/gtest.h>

#include "graph/evidence/receipt.h"
#include "loaders/files/json_file.h"
#include "tests/support/models.h"

namespace v4rt {
namespace {

struct Target {
  std::string device;
  std::optional<Lanes> lanes = {};
  bool own_memory = false;
  std::optional<bool> long_launches = {};
};

// Every device, those of OpenCL in both forms of their kernels, as if their memory were not the host's, and with
// launches that go on.
std::vector<Target> targets() {
  std::vector<Target> list;
  for (const DeviceInfo& device : list_devices().devices) {
    if (!device.name.starts_with("opencl")) {
      list.push_back({device.name});
      continue;
    }
    list.push_back({.device = device.name, .own_memory = true});
    list.push_back({.device = device.name, .lanes = Lanes::kVector, .long_launches = true});
    for (const Lanes lanes : {Lanes::kVector, Lanes::kWorkItems}) list.push_back({device.name, lanes});
  }
  return list;
}

class Receipts : public testing::TestWithParam<std::string> {};

TEST_P(Receipts, HoldOnEveryDevice) {
  const std::string path = source_path("tests/data/receipts/" + GetParam() + ".jsonl");
  const Receipt receipt = parse_receipt(read_text_file(path), path);
  const auto weights = open_checkpoint(GetParam().starts_with("v4-mini") ? mini_path() : tiny_flash_path()).weights;
  EXPECT_EQ(receipt.weights, to_string(weights->identity()->content)) << "of other files";
  for (const Target& target : targets()) {
    SCOPED_TRACE(target.device + (target.lanes == Lanes::kVector ? ", vector lanes" : "") +
                 (target.own_memory ? ", memory of its own" : "") + (target.long_launches ? ", long launches" : ""));
    ModelOptions options;
    options.device = target.device;
    options.device_options.lanes = target.lanes;
    options.device_options.own_memory = target.own_memory;
    options.device_options.long_launches = target.long_launches;
    options.numbers = receipt.numbers;
    options.chunk = 48;
    options.context = 300;
    options.mtp = receipt.mtp;
    Session session(Model::open(weights, options));
    const auto difference = check_receipt(session, receipt, [](size_t) {});
    EXPECT_FALSE(difference) << describe(*difference, receipt, session.model());
  }
}

INSTANTIATE_TEST_SUITE_P(Files, Receipts,
                         testing::Values("v4-mini-faithful", "v4-mini-plain", "v4-mini-text", "tiny-flash-faithful",
                                         "tiny-flash-plain"),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace v4rt
