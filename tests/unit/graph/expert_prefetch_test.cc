#include "graph/plan/expert_prefetch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <map>
#include <random>
#include <set>

#include "alloc_count.h"
#include "backend/registry.h"
#include "graph/ir/builder.h"
#include "graph/plan/compile.h"
#include "graph/plan/executor.h"
#include "ops/moe/moe.h"

namespace v4rt {
namespace {

constexpr int64_t kRows = 3, kExperts = 16, kHidden = 32, kInner = 32, kVocab = 8;
constexpr int kChosen = 2;

struct Asked {
  std::string weight;
  bool scales;
  std::set<int64_t> experts;
  bool operator==(const Asked&) const = default;
};

// Two layers of experts, on the devices named: the first routes by score, the second by token id.
class TwoLayers {
 public:
  TwoLayers(const std::string& routes, const std::string& experts, Residence residence)
      : devices_{create_device(routes)} {
    if (experts != routes) devices_.push_back(create_device(experts));
    const int last = static_cast<int>(devices_.size()) - 1;
    plan_ = compile(graph(), {.devices = devices_, .rules = {{"*experts*", last}}, .state_devices = {}});
    for (size_t i = 0; i < devices_.size(); ++i) {
      queues_.push_back(devices_[i]->create_queue());
      arenas_.push_back(plan_.arena_bytes[i] > 0 ? devices_[i]->allocate(plan_.arena_bytes[i]) : nullptr);
    }
    const Bindings bindings{
        .queues = queues_,
        .arenas = arenas_,
        .tensor = [this](const Slot& slot) { return bind(slot); },
        .residence = [residence](const Slot&) { return residence; },
        .read_ahead = [this](std::span<const std::byte> bytes) { note(bytes); },
    };
    executor_ = std::make_unique<Executor>(plan_, bindings);
  }

  // Runs with other scores and tokens for each seed, `rows` of them live. Returns the number of allocations.
  long run(unsigned seed, int rows = kRows) {
    std::mt19937 random(seed);
    std::vector<float> z(kRows * kExperts);
    for (float& v : z) v = static_cast<float>(random() % 1000) / 100;
    std::vector<int32_t> tokens(kRows);
    for (int32_t& t : tokens) t = static_cast<int32_t>(random() % kVocab);
    write("z", std::as_bytes(std::span(z)));
    write("tokens", std::as_bytes(std::span(tokens)));
    segment_.n_tokens = rows;
    fill_rows({&segment_, 1}, std::span(rows_).first(static_cast<size_t>(rows)));
    n_asked_ = 0;
    const AllocationCount count;
    executor_->run({{&segment_, 1}, std::span(rows_).first(static_cast<size_t>(rows))});
    return count.since();
  }

  // The requests of the last run, in order; neighbouring experts together.
  std::vector<Asked> asked() const {
    std::vector<Asked> out;
    for (size_t i = 0; i < n_asked_; ++i) {
      Asked one = named(asked_[i]);
      if (!out.empty() && out.back().weight == one.weight && out.back().scales == one.scales) {
        out.back().experts.merge(one.experts);
      } else {
        out.push_back(std::move(one));
      }
    }
    return out;
  }
  size_t calls() const { return n_asked_; }

  // The experts of all live rows of a layer, from its ids.
  std::set<int64_t> chosen(const std::string& layer, int rows = kRows) const {
    std::vector<int32_t> ids(kRows * kChosen);
    for (const auto& [name, slot] : plan_.outputs) {
      if (name != layer + ".ids") continue;
      const auto device = static_cast<size_t>(plan_.slots[static_cast<size_t>(slot)].device);
      queues_[device]->download(std::as_writable_bytes(std::span(ids)), *executor_->tensor(slot).values, 0);
    }
    return {ids.begin(), ids.begin() + rows * kChosen};
  }

 private:
  Graph graph() const {
    Builder g;
    const TensorType x_type{.dtype = DType::kF32, .shape = {kRows, kHidden}};
    const ValueId z = g.input("z", {.dtype = DType::kF32, .shape = {kRows, kExperts}});
    const ValueId tokens = g.input("tokens", {.dtype = DType::kI32, .shape = {kRows}});
    ValueId x = g.input("x", x_type);
    for (const std::string layer : {"score", "hash"}) {
      const auto scope = g.scope(layer);
      const std::vector<ValueId> route =
          layer == "hash" ? g.emit("route", std::make_shared<const RouteHash>(kChosen, 1.5f),
                                   {z, g.weight("table", {.dtype = DType::kI32, .shape = {kVocab, kChosen}}), tokens})
                          : g.emit("route", std::make_shared<const RouteTopK>(kChosen, 1.5f),
                                   {z, g.weight("bias", {.dtype = DType::kF32, .shape = {kExperts}})});
      const auto stack = [&](const char* name, int64_t n, int64_t k) {
        return g.weight(layer + "." + name, {.dtype = DType::kFp4, .shape = {kExperts, n, k}});
      };
      const ValueId inner = g.add<MoeGateUp>(
          "experts.gate_up", {x, route[0], route[1], stack("w1", kInner, kHidden), stack("w3", kInner, kHidden)}, 0.0f);
      x = g.add<MoeDown>("experts.down", {inner, route[0], stack("w2", kHidden, kInner), x});
      g.output(layer + ".ids", route[0]);
    }
    g.output("x", x);
    return g.take();
  }

  Tensor bind(const Slot& slot) {
    const auto [it, is_new] = bound_.try_emplace({slot.name, slot.device});
    if (!is_new) return it->second;
    Device& device = *devices_[static_cast<size_t>(slot.device)];
    it->second = {slot.type, device.allocate(slot.type.bytes()), nullptr};
    Queue& queue = *queues_[static_cast<size_t>(slot.device)];
    queue.fill(*it->second.values, std::byte{0});
    if (const size_t bytes = slot.type.scale_bytes(); bytes > 0) {
      it->second.scales = device.allocate(bytes);
      queue.fill(*it->second.scales, std::byte{127});
    }
    if (slot.name == "table") {
      std::vector<int32_t> table;
      for (int32_t t = 0; t < kVocab; ++t) table.insert(table.end(), {t, t + 5});
      queue.upload(*it->second.values, 0, std::as_bytes(std::span(table)));
    }
    return it->second;
  }

  void write(const std::string& name, std::span<const std::byte> bytes) {
    for (const auto& [input, slot] : plan_.inputs) {
      if (input != name) continue;
      const auto device = static_cast<size_t>(plan_.slots[static_cast<size_t>(slot)].device);
      queues_[device]->upload(*executor_->tensor(slot).values, 0, bytes);
    }
  }

  void note(std::span<const std::byte> bytes) {
    if (n_asked_ < asked_.size()) asked_[n_asked_++] = bytes;
  }

  Asked named(std::span<const std::byte> bytes) const {
    for (const auto& [key, tensor] : bound_) {
      if (tensor.type.shape.rank() != 3) continue;
      for (const auto& [plane, all] :
           {std::pair(tensor.values, tensor.type.bytes()), std::pair(tensor.scales, tensor.type.scale_bytes())}) {
        if (plane == nullptr || bytes.data() < plane->host() || bytes.data() >= plane->host() + all) continue;
        const size_t stride = all / kExperts, first = static_cast<size_t>(bytes.data() - plane->host());
        EXPECT_EQ(first % stride, 0u);
        EXPECT_EQ(bytes.size() % stride, 0u);
        EXPECT_LE(first + bytes.size(), all);
        Asked out{key.first, plane == tensor.scales, {}};
        for (size_t i = 0; i < bytes.size() / stride; ++i) out.experts.insert(static_cast<int64_t>(first / stride + i));
        return out;
      }
    }
    ADD_FAILURE() << "asked for bytes of no expert";
    return {};
  }

  std::vector<std::shared_ptr<Device>> devices_;
  Plan plan_;
  std::vector<std::unique_ptr<Queue>> queues_;
  std::vector<BufferPtr> arenas_;
  std::map<std::pair<std::string, int>, Tensor> bound_;
  std::unique_ptr<Executor> executor_;
  Segment segment_;
  std::array<Row, kRows> rows_{};
  std::array<std::span<const std::byte>, 200> asked_{};
  size_t n_asked_ = 0;
};

std::vector<Asked> all_planes(const std::string& layer, const std::set<int64_t>& experts) {
  std::vector<Asked> out;
  for (const char* name : {".w1", ".w3", ".w2"}) {
    out.push_back({layer + name, false, experts});
    out.push_back({layer + name, true, experts});
  }
  return out;
}

// Experts chosen by token id are requested before the step begins, although their layer comes later; those chosen by
// score when the scores are there.
std::vector<Asked> expected(const std::set<int64_t>& hash, const std::set<int64_t>& score) {
  std::vector<Asked> out = all_planes("hash", hash);
  for (Asked& one : all_planes("score", score)) out.push_back(std::move(one));
  return out;
}

class Prefetch : public testing::TestWithParam<std::string> {};

TEST_P(Prefetch, AsksForWhatTheStepChooses) {
  TwoLayers layers(GetParam(), GetParam(), Residence::kLargeFile);
  for (unsigned seed = 1; seed < 6; ++seed) {
    const int rows = seed == 5 ? 1 : static_cast<int>(kRows);
    layers.run(seed, rows);
    EXPECT_EQ(layers.asked(), expected(layers.chosen("hash", rows), layers.chosen("score", rows))) << seed;
    layers.run(seed, rows);  // and again, because the pages may have been dropped
    EXPECT_EQ(layers.asked(), expected(layers.chosen("hash", rows), layers.chosen("score", rows))) << seed;
  }
}

TEST_P(Prefetch, AsksOnceForWhatStays) {
  TwoLayers layers(GetParam(), GetParam(), Residence::kFile);
  std::set<int64_t> hash, score;
  for (unsigned seed = 1; seed < 20; ++seed) {
    layers.run(seed);
    std::set<int64_t> new_hash, new_score;
    for (const int64_t e : layers.chosen("hash")) {
      if (hash.insert(e).second) new_hash.insert(e);
    }
    for (const int64_t e : layers.chosen("score")) {
      if (score.insert(e).second) new_score.insert(e);
    }
    std::vector<Asked> wanted = expected(new_hash, new_score);
    std::erase_if(wanted, [](const Asked& one) { return one.experts.empty(); });
    EXPECT_EQ(layers.asked(), wanted) << seed;
  }
  layers.run(19);
  EXPECT_EQ(layers.calls(), 0u);
}

TEST_P(Prefetch, NeverAsksForMemory) {
  TwoLayers layers(GetParam(), GetParam(), Residence::kMemory);
  layers.run(1);
  EXPECT_EQ(layers.calls(), 0u);
}

TEST_P(Prefetch, AllocatesNothing) {
  TwoLayers layers(GetParam(), GetParam(), Residence::kLargeFile);
  layers.run(1);  // the reference device allocates in its first run
  EXPECT_EQ(layers.run(1), 0);
  EXPECT_GT(layers.calls(), 0u);
}

INSTANTIATE_TEST_SUITE_P(Devices, Prefetch, testing::Values("reference", "cpu"),
                         [](const auto& info) { return info.param; });

// Ids that come from another device are known after their transfer.
TEST(PrefetchAcross, AsksOnceTheIdsHaveCome) {
  TwoLayers layers("reference", "cpu", Residence::kLargeFile);
  layers.run(3);
  std::vector<Asked> wanted = all_planes("score", layers.chosen("score"));
  for (Asked& one : all_planes("hash", layers.chosen("hash"))) wanted.push_back(std::move(one));
  EXPECT_EQ(layers.asked(), wanted);
}

}  // namespace
}  // namespace v4rt
