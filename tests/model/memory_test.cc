// The memory that opening a model is said to take is what it and a session take, on every backend; and nothing else.

#include <gtest/gtest.h>

#include <algorithm>

#include "graph/runtime/generate.h"
#include "tests/support/models.h"

namespace v4rt {
namespace {

struct Count {
  size_t live = 0, most = 0, largest = 0;
};

// A device whose allocations are counted; everything else is `inner`'s.
class CountingDevice final : public Device {
 public:
  CountingDevice(std::shared_ptr<Device> inner, std::shared_ptr<Count> count)
      : inner_(std::move(inner)), count_(std::move(count)) {}

  const DeviceInfo& info() const override { return inner_->info(); }
  Support supports(const OpCall& call) const override { return inner_->supports(call); }
  std::unique_ptr<Kernel> make(const OpCall& call, int kernel) override { return inner_->make(call, kernel); }
  Layout weight_layout(const TensorType& weight) const override { return inner_->weight_layout(weight); }
  BufferPtr import_host(std::span<const std::byte> memory) override { return inner_->import_host(memory); }
  std::unique_ptr<Queue> create_queue() override { return inner_->create_queue(); }

  BufferPtr allocate(size_t bytes) override {
    BufferPtr buffer = inner_->allocate(bytes);
    count_->live += bytes;
    count_->most = std::max(count_->most, count_->live);
    count_->largest = std::max(count_->largest, bytes);
    Buffer* raw = buffer.get();
    return {raw, [buffer = std::move(buffer), count = count_, bytes](Buffer*) mutable {
              buffer.reset();
              count->live -= bytes;
            }};
  }

 private:
  std::shared_ptr<Device> inner_;
  std::shared_ptr<Count> count_;
};

class Memory : public testing::TestWithParam<std::string> {};

TEST_P(Memory, IsWhatWasSaid) {
  const auto count = std::make_shared<Count>();
  ModelOptions options{.device = GetParam(), .context = 300, .chunk = 16, .slots = 2};
  options.find_device = [&](std::string_view name) {
    return std::make_shared<CountingDevice>(create_device(name), count);
  };
  const auto weights = open_checkpoint(mini_path()).weights;
  const auto needs = Model::memory_needed(weights, options);
  EXPECT_EQ(count->most, 0u) << "planning allocates nothing";
  ASSERT_EQ(needs.size(), 1u);
  const MemoryNeed& need = needs[0].need;

  const auto model = Model::open(weights, options);
  EXPECT_EQ(count->live, need.weights);
  Session session(model);
  const size_t together = need.weights + need.states + need.arena + need.io;
  EXPECT_EQ(count->live, together);
  EXPECT_EQ(count->largest, need.largest);
  std::vector<int32_t> prompt(100, 17);
  Sampler greedy({}, model->config().vocab_size);
  generate(session, prompt, {.max_tokens = 100}, greedy, {});
  EXPECT_EQ(count->live, together);
  EXPECT_LE(count->most, need.total());
}

INSTANTIATE_TEST_SUITE_P(Devices, Memory, testing::ValuesIn(built_in_backends()),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace v4rt
