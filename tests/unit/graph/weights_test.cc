#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <random>

#include "fakes.h"
#include "graph/plan/compile.h"
#include "graph/runtime/weight_copy.h"
#include "graph/runtime/weight_store.h"
#include "ops/layout/repack.h"
#include "ops/linear/linear.h"

namespace v4rt {
namespace {

using fakes::FakeBuffer;
using fakes::FakeDevice;
using testing::Each;
using testing::ElementsAre;
using testing::StartsWith;

// Bytes of a weight, cut into parts in any way.
struct Bytes {
  Bytes(const TensorType& type, unsigned seed) : type(type), values(type.bytes()), scales(type.scale_bytes()) {
    std::mt19937 random(seed);
    for (auto* plane : {&values, &scales}) {
      for (std::byte& b : *plane) b = static_cast<std::byte>(random());
    }
  }
  WeightView view(size_t parts) const {
    WeightView out{.type = type, .parts = {}, .scale_parts = {}, .owner = nullptr};
    for (size_t p = 0; p < parts; ++p) {
      const auto cut = [&](const std::vector<std::byte>& plane) {
        const size_t a = plane.size() * p / parts, b = plane.size() * (p + 1) / parts;
        return std::span(plane).subspan(a, b - a);
      };
      out.parts.push_back(cut(values));
      if (!scales.empty()) out.scale_parts.push_back(cut(scales));
    }
    return out;
  }
  TensorType type;
  std::vector<std::byte> values, scales;
};

std::vector<std::byte> content(const BufferPtr& buffer) {
  if (buffer == nullptr) return {};
  const auto& fake = static_cast<const FakeBuffer&>(*buffer);
  return {fake.data(), fake.data() + fake.bytes()};
}

// The whole weight repacked at once; repacking it in pieces must give the same.
Bytes repacked(const Bytes& from) {
  const Repack op(Layout::kRows16);
  Bytes to(op.infer({&from.type, 1}).front(), 0);
  const auto tensor = [](const Bytes& b) {
    const auto plane = [](const std::vector<std::byte>& p) -> BufferPtr {
      const std::shared_ptr<std::byte[]> memory(const_cast<std::byte*>(p.data()), [](std::byte*) {});
      return p.empty() ? nullptr : std::make_shared<FakeBuffer>(memory, 0, p.size(), true);
    };
    return Tensor{b.type, plane(b.values), plane(b.scales)};
  };
  const Tensor in = tensor(from), out = tensor(to);
  RefContext context({&in, 1}, {&out, 1}, Step{});
  op.reference(context);
  return to;
}

struct CopyCase {
  std::string name;
  TensorType type;
  size_t parts;
  size_t pieces;   // 0: the parts are joined first
  size_t largest;  // staging: bytes of the largest allocation beside the weight itself
};

class Copy : public ::testing::TestWithParam<std::tuple<CopyCase, bool, size_t>> {};

TEST_P(Copy, RepacksInPiecesWithoutASecondCopy) {
  const auto& [c, imports, alignment] = GetParam();
  const Bytes bytes(c.type, 5);
  const WeightView view = bytes.view(c.parts);
  EXPECT_EQ(repack_pieces(view).size(), c.pieces);

  FakeDevice device("d");
  device.imports = imports;
  device.info_.alignment = alignment;
  device.scratch = 16;
  const Bytes expected = repacked(bytes);
  WeightCopier copier(device);
  const auto op = std::make_shared<const Repack>(Layout::kRows16);
  for (int again = 0; again < 2; ++again) {  // staging is kept
    const Tensor made = copier.copy(view, expected.type, op);
    EXPECT_EQ(made.type, expected.type);
    EXPECT_TRUE(content(made.values) == expected.values);
    EXPECT_TRUE(content(made.scales) == expected.scales);
  }
  const size_t whole = expected.values.size() + expected.scales.size();
  EXPECT_LE(device.allocated, 2 * whole + 2 * c.largest + 64);
}

TEST(Slice, CutsBothPlanesAcrossParts) {
  const Bytes whole({.dtype = DType::kFp4, .shape = {7, 32, 64}}, 3);
  const size_t values = 32 * 32, scales = 32 * 2;  // of one matrix
  for (const size_t parts : {1, 7}) {
    const WeightView part = slice(whole.view(parts), {2, 3});
    EXPECT_EQ(part.type.shape, (Shape{3, 32, 64}));
    EXPECT_EQ(part.parts.size(), parts == 1 ? 1u : 3u);
    const Tensor copied = [&] {
      FakeDevice device("d");
      return WeightCopier(device).copy(part, part.type, nullptr);
    }();
    const auto cut = [](const auto& from, size_t first, size_t n) {
      return std::vector<std::byte>(from.begin() + static_cast<ptrdiff_t>(first),
                                    from.begin() + static_cast<ptrdiff_t>(first + n));
    };
    EXPECT_TRUE(content(copied.values) == cut(whole.values, 2 * values, 3 * values));
    EXPECT_TRUE(content(copied.scales) == cut(whole.scales, 2 * scales, 3 * scales));
  }
  EXPECT_EQ(slice(whole.view(7), {}).parts.size(), 7u);
  const Bytes matrix({.dtype = DType::kF32, .shape = {4, 8}}, 1);
  EXPECT_THROW(slice(matrix.view(1), {0, 2}), Error);
}

INSTANTIATE_TEST_SUITE_P(
    Weights, Copy,
    ::testing::Combine(
        ::testing::Values(CopyCase{"one_matrix", {.dtype = DType::kBF16, .shape = {40, 64}}, 1, 1, 48 * 64 * 2},
                          CopyCase{"stack_in_parts", {.dtype = DType::kFp4, .shape = {8, 32, 64}}, 8, 8, 32 * 36},
                          CopyCase{"stack_in_one", {.dtype = DType::kFp4, .shape = {8, 32, 64}}, 1, 8, 32 * 36},
                          CopyCase{"stack_in_two", {.dtype = DType::kFp8, .shape = {4, 130, 136}}, 2, 4, 144 * 140},
                          CopyCase{"stack_padded", {.dtype = DType::kBF16, .shape = {3, 20, 33}}, 3, 3, 32 * 68},
                          CopyCase{"fused_halves", {.dtype = DType::kFp8, .shape = {256, 128}}, 2, 2, 128 * 128 + 4},
                          CopyCase{"fused_fp4", {.dtype = DType::kFp4, .shape = {64, 32}}, 2, 2, 32 * 17},
                          CopyCase{"fused_odd", {.dtype = DType::kF32, .shape = {40, 8}}, 2, 0, 48 * 32}),
        ::testing::Bool(), ::testing::Values(size_t{16}, size_t{4096})),
    [](const auto& p) {
      return fmt::format("{}_{}_align{}", std::get<0>(p.param).name, std::get<1>(p.param) ? "import" : "stage",
                         std::get<2>(p.param));
    });

TEST(CopyPlain, PutsPartsOneAfterTheOther) {
  const Bytes bytes({.dtype = DType::kFp4, .shape = {4, 16, 32}}, 9);
  FakeDevice device("d");
  const Tensor made = WeightCopier(device).copy(bytes.view(4), bytes.type, nullptr);
  EXPECT_TRUE(content(made.values) == bytes.values);
  EXPECT_TRUE(content(made.scales) == bytes.scales);
}

class Source final : public WeightSource {
 public:
  const V4Config& config() const override { return config_; }
  bool has(std::string_view name) const override { return weights.contains(std::string(name)); }
  WeightView get(std::string_view name) const override {
    events.push_back("get " + std::string(name));
    const auto& [bytes, parts] = weights.at(std::string(name));
    return bytes.view(parts);
  }
  void check_values(std::string_view name) const override { events.push_back("check " + std::string(name)); }
  void release(const WeightView&) const override { ++released; }
  std::map<std::string, std::pair<Bytes, size_t>> weights;
  mutable int released = 0;
  mutable std::vector<std::string> events;

 private:
  V4Config config_;
};

class Store : public ::testing::Test {
 protected:
  Store() {
    const TensorType type{.dtype = DType::kBF16, .shape = {32, 64}};
    source->weights.emplace("one", std::pair{Bytes(type, 1), size_t{1}});
    source->weights.emplace("two", std::pair{Bytes(type, 2), size_t{2}});
  }
  Plan plan() const {
    Builder g;
    const ValueId x = g.input("x", {.dtype = DType::kF32, .shape = {2, 64}});
    for (const char* name : {"one", "two"}) {
      g.output(name, g.add<Linear>(name, {x, g.weight(name, source->get(name).type)}, DType::kF32));
    }
    return compile(g.take(), {.devices = {device}, .rules = {}, .state_devices = {}});
  }
  const Slot& slot(const Plan& p, std::string_view name) const {
    for (const Slot& s : p.slots) {
      if (s.storage == Storage::kWeight && s.name == name) return s;
    }
    fail(Code::kNotFound, "no slot {}", name);
  }
  std::shared_ptr<Source> source = std::make_shared<Source>();
  std::shared_ptr<FakeDevice> device = std::make_shared<FakeDevice>("d");
};

TEST_F(Store, ImportsWhatLiesInOnePieceAndCopiesTheRest) {
  device->imports = true;
  const Plan p = plan();
  WeightStore store(source, {device});
  store.add(p);
  store.add(plan());  // the same weights
  EXPECT_EQ(store.copied_bytes(0), 4096u);
  EXPECT_EQ(device->allocated, 0u);
  EXPECT_THROW(store.tensor(slot(p, "two")), Error);
  double last = -1;
  store.load([&](std::string_view what, double done) {
    EXPECT_EQ(what, "loading weights");
    last = done;
  });
  EXPECT_EQ(last, 1);
  EXPECT_EQ(device->allocated, 4096u);
  EXPECT_EQ(source->released, 1);
  EXPECT_EQ(store.bytes(), 8192u);
  const auto& one = static_cast<const FakeBuffer&>(*store.tensor(slot(p, "one")).values);
  EXPECT_EQ(one.data(), source->weights.at("one").first.values.data());
  EXPECT_TRUE(content(store.tensor(slot(p, "two")).values) == source->weights.at("two").first.values);
}

TEST_F(Store, RepacksForDevicesThatWantIt) {
  device->imports = true;
  device->wanted = Layout::kRows16;
  const Plan p = plan();
  WeightStore store(source, {device});
  store.add(p);
  store.load(nullptr);
  for (const char* name : {"one", "two"}) {
    const Tensor& tensor = store.tensor(slot(p, name));
    EXPECT_EQ(tensor.type.layout, Layout::kRows16);
    EXPECT_TRUE(content(tensor.values) == repacked(source->weights.at(name).first).values) << name;
  }
}

// A weight is copied right after it is checked, while it is still in memory; making plans reads nothing.
TEST_F(Store, ChecksValuesJustBeforeItUsesThem) {
  for (const bool imports : {false, true}) {
    device->imports = imports;
    const Plan p = plan();
    source->events.clear();
    WeightStore store(source, {device});
    store.add(p);
    EXPECT_THAT(source->events, Each(StartsWith("get")));
    source->events.clear();
    store.load(nullptr);
    store.load(nullptr);
    if (imports) {  // "one" is used in place
      EXPECT_THAT(source->events, ElementsAre("check one", "check two", "get two"));
    } else {
      EXPECT_THAT(source->events, ElementsAre("check one", "get one", "check two", "get two"));
    }
  }
}

TEST_F(Store, RefusesAWeightOfAnotherType) {
  const Plan p = plan();
  source->weights.at("two").first = Bytes({.dtype = DType::kF32, .shape = {32, 64}}, 2);
  WeightStore store(source, {device});
  EXPECT_THROW(store.add(p), Error);
}

}  // namespace
}  // namespace v4rt
