#include "graph/runtime/model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fakes.h"
#include "graph/runtime/memory_check.h"
#include "ops/core/human.h"
#include "tests/support/tiny_model.h"

namespace v4rt {
namespace {

using ::testing::HasSubstr;

void expect_refused(const ModelOptions& options, Code code, const std::string& message,
                    const V4Config& config = tiny_config()) {
  try {
    Model::open(tiny_weights(config), options);
    ADD_FAILURE() << "opened, expected: " << message;
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    EXPECT_THAT(error.what(), HasSubstr(message));
  }
}

TEST(ModelOpen, RefusesOptionsWithoutMeaning) {
  ModelOptions options = tiny_options();
  options.chunk = -1;
  expect_refused(options, Code::kInvalidArgument, "chunk is -1");
  options = tiny_options();
  options.slots = 0;
  expect_refused(options, Code::kInvalidArgument, "slots is 0");
  options = tiny_options();
  options.context = 0;
  expect_refused(options, Code::kInvalidArgument, "context is 0");
  options.context = 4097;
  expect_refused(options, Code::kInvalidArgument, "a context of 4097 positions: this model knows 4096");
  options = tiny_options();
  options.device = "abacus";
  expect_refused(options, Code::kNotFound, "abacus");
  options = tiny_options();
  options.place = {{"*", "abacus"}};
  expect_refused(options, Code::kNotFound, "abacus");
  options = tiny_options();
  options.mtp = true;
  V4Config plain = tiny_config();
  plain.has_mtp = false;
  expect_refused(options, Code::kUnsupported, "no MTP block", plain);
  EXPECT_THROW(Model::open(nullptr, tiny_options()), Error);
}

TEST(ModelOpen, NamesAWeightThatIsNotThere) {
  class Without final : public WeightSource {
   public:
    const V4Config& config() const override { return inner_->config(); }
    bool has(std::string_view name) const override { return inner_->has(name); }
    WeightView get(std::string_view name) const override {
      return inner_->get(name == "layers.1.attn.wkv.weight" ? std::string_view("gone") : name);
    }

   private:
    std::shared_ptr<const WeightSource> inner_ = tiny_weights();
  };
  EXPECT_THROW(Model::open(std::make_shared<const Without>(), tiny_options()), Error);
}

TEST(ModelOpen, ReportsProgressOnlyWhileOpening) {
  ModelOptions options = tiny_options();
  std::vector<std::pair<std::string, double>> seen;
  options.progress = [&](std::string_view what, double done) { seen.emplace_back(what, done); };
  const auto model = Model::open(tiny_weights(), options);
  ASSERT_FALSE(seen.empty());
  EXPECT_EQ(seen.front(), (std::pair<std::string, double>{"compiling", 0}));
  EXPECT_EQ(seen.back().second, 1);
  for (const auto& [what, done] : seen) EXPECT_TRUE(done >= 0 && done <= 1) << what;
  const size_t before = seen.size();
  model->plan(7, LogitsOf::kAllRows);
  EXPECT_EQ(seen.size(), before);
}

// Kernels may take seconds each to compile: progress moves, and may end it, between any two.
TEST(ModelOpen, MayBeEndedBetweenKernels) {
  ModelOptions options = tiny_options();
  double last = 0;
  options.progress = [&](std::string_view what, double done) {
    last = done;
    if (what == "compiling" && done > 0) throw std::runtime_error("enough");
  };
  EXPECT_THROW(Model::open(tiny_weights(), options), std::runtime_error);
  EXPECT_LT(last, 0.1);
}

TEST(ModelPlans, AreMadeOnceAndShareWeightsAndStates) {
  ModelOptions options = tiny_options();
  options.mtp = true;
  const auto model = Model::open(tiny_weights(), options);
  const Plan& decode = model->plan(1, LogitsOf::kLastRows);
  EXPECT_EQ(&decode, &model->plan(1, LogitsOf::kLastRows));
  const size_t weights = model->weight_bytes(), states = model->state_bytes();
  const Plan& all = model->plan(7, LogitsOf::kAllRowsAndMtp);
  EXPECT_EQ(all.outputs.size(), 2u);
  EXPECT_EQ(all.inputs.size(), 2u);
  model->plan(3, LogitsOf::kAllRowsAndMtp);
  EXPECT_EQ(model->weight_bytes(), weights);
  EXPECT_EQ(model->state_bytes(), states);
  EXPECT_GT(model->arena_bytes(), 0u);
  EXPECT_THROW(model->plan(8, LogitsOf::kLastRows), Error);
  EXPECT_THROW(model->plan(0, LogitsOf::kLastRows), Error);
}

// Devices of the test's own, by name.
struct OwnDevices {
  std::shared_ptr<fakes::FakeDevice> near = std::make_shared<fakes::FakeDevice>("near"),
                                     far = std::make_shared<fakes::FakeDevice>("far");
  ModelOptions options() const {
    ModelOptions options = tiny_options();
    options.device = "near";
    options.find_device = [near = near, far = far](std::string_view name) -> std::shared_ptr<Device> {
      if (name == "near") return near;
      return name == "far" ? far : nullptr;
    };
    return options;
  }
};

TEST(ModelDevices, AnyPlacementGivesTheSameBits) {
  const std::vector<int32_t> ids = tiny_ids(30);
  Session alone(Model::open(tiny_weights(), tiny_options()));
  const std::vector<float> expected = copy_of(alone.feed(ids));
  for (const char* pattern : {"*.ffn.*", "L01.attn.*", "*attend", "*hc_*", "*"}) {
    OwnDevices d;
    d.far->info_.alignment = 256;
    d.near->scratch = 24;
    d.near->imports = true;
    d.far->accept = [](const OpCall& call) {  // some nodes that match have to go elsewhere
      return call.op.kind() == OpKind::kRmsNorm ? Support::no("no norms") : Support{};
    };
    ModelOptions options = d.options();
    options.place = {{pattern, "far"}};
    options.slots = 2;
    const auto model = Model::open(tiny_weights(), options);
    Session session(model);
    session.feed(std::span(ids).first(9), 0);
    EXPECT_EQ(copy_of(session.feed(ids, 1)), expected) << pattern;
    session.reset(0);
    EXPECT_EQ(copy_of(session.feed(ids, 0)), expected) << pattern;
    EXPECT_TRUE(session.snapshot(0).bytes == session.snapshot(1).bytes);
    std::vector<float> last;
    session.reset(1);
    session.score(
        ids, [&](int64_t, std::span<const float> logits, std::span<const float>) { last = copy_of(logits); }, 1);
    EXPECT_EQ(last, expected) << pattern;
    EXPECT_EQ(copy_of(session.feed(ids, 0)),
              copy_of(session.feed(ids, 1)));  // programs were made again for a larger arena
  }
}

TEST(ModelDevices, EveryPlanKeepsStatesOnTheirDevice) {
  OwnDevices d;
  ModelOptions options = d.options();
  options.place = {{"*.attn.*", "far"}};
  const auto refuse_tokens = [](int64_t tokens) {
    return [tokens](const OpCall& call) {
      const bool refused = call.op.kind() == OpKind::kAttend && call.inputs[0].shape[0] == tokens;
      return refused ? Support::no("not this many tokens") : Support{};
    };
  };
  d.far->accept = refuse_tokens(7);  // the chunk decides, and the single token follows
  const auto model = Model::open(tiny_weights(), options);
  for (const int tokens : {1, 7}) {
    for (const PlanStep& step : model->plan(tokens, LogitsOf::kLastRows).steps) {
      const auto* launch = std::get_if<Launch>(&step);
      const bool attend = launch != nullptr && launch->op->kind() == OpKind::kAttend;
      EXPECT_TRUE(!attend || launch->device == 0) << tokens;
    }
  }
  d.far->accept = refuse_tokens(1);
  expect_refused(options, Code::kUnsupported, "far refuses L00.attn.attend: not this many tokens");
}

// Stacks of 64 experts, 32 and 64 KiB, on a device whose buffers may have 24.
TEST(ModelDevices, StacksLargerThanOneBufferAreCutWithTheSameBits) {
  V4Config config = tiny_config();
  config.num_experts = 64;
  const std::vector<int32_t> ids = tiny_ids(30);
  Session whole(Model::open(tiny_weights(config), tiny_options()));
  const std::vector<float> expected = copy_of(whole.feed(ids));
  {
    OwnDevices d;
    d.near->info_.max_allocation = size_t{24} << 10;
    const auto model = Model::open(tiny_weights(config), d.options());
    const auto& steps = model->plan(1, LogitsOf::kLastRows).steps;
    EXPECT_EQ(std::count_if(steps.begin(), steps.end(),
                            [](const PlanStep& step) {
                              const auto* launch = std::get_if<Launch>(&step);
                              return launch != nullptr && launch->op->kind() == OpKind::kMoeGateUp;
                            }),
              3 * 3);
    Session session(model);
    EXPECT_EQ(copy_of(session.feed(ids)), expected);
    session.reset();
    std::vector<float> last;
    for (const int32_t id : ids) last = copy_of(session.feed({&id, 1}));
    EXPECT_EQ(last, expected);
    EXPECT_LE(d.near->largest, d.near->info_.max_allocation);
  }
}

TEST(ModelDevices, AGrownArenaReplacesTheOldOne) {
  OwnDevices d;
  const auto model = Model::open(tiny_weights(), d.options());
  Session session(model);
  const size_t before = *d.near->live, arena_before = model->arena_bytes();
  d.near->scratch = 10000;  // for kernels made from now on
  session.score(tiny_ids(8), [](int64_t, std::span<const float>, std::span<const float>) {});
  EXPECT_GT(model->arena_bytes(), arena_before);
  const size_t io = 7 * sizeof(int32_t) + 7 * 32 * sizeof(float);
  EXPECT_EQ(*d.near->live, before + model->arena_bytes() - arena_before + io);
}

// By default a chunk has as many tokens as pay and memory allows: its working memory takes an eighth at most.
TEST(ModelDevices, AChunkFitsTheContextAndTheMemory) {
  OwnDevices d;
  ModelOptions options = d.options();
  options.chunk = 0;
  options.context = 100;
  EXPECT_EQ(Model::open(tiny_weights(), options)->options().chunk, 100);
  options.context = 4000;
  const auto whole = Model::open(tiny_weights(), options);
  EXPECT_EQ(whole->options().chunk, 2048);
  d.near->info_.memory = 8 * whole->arena_bytes() - 1;
  const auto half = Model::open(tiny_weights(), options);
  EXPECT_EQ(half->options().chunk, 1024);
  EXPECT_LE(8 * half->arena_bytes(), d.near->info_.memory);
  options.chunk = 2048;  // who asks for more gets it, where it fits at all
  EXPECT_EQ(Model::open(tiny_weights(), options)->options().chunk, 2048);
}

TEST(ModelDevices, AContextThatDoesNotFitIsRefusedWithOneThatDoes) {
  OwnDevices d;
  ModelOptions options = d.options();
  options.context = 4000;
  const auto roomy = Model::open(tiny_weights(), options);
  d.near->info_.memory = roomy->weight_bytes() + roomy->arena_bytes() + roomy->state_bytes() / 2;
  d.near->allocated = 0;
  int64_t best = 0;
  try {
    Model::open(tiny_weights(), options);
    FAIL() << "opened";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Code::kOutOfMemory);
    const std::string message = error.what();
    EXPECT_THAT(message, HasSubstr("a context of 4000 positions"));
    EXPECT_THAT(message, HasSubstr("are more than the " + human_bytes(d.near->info_.memory) + " of near"));
    best = std::stoll(message.substr(message.rfind(' ')));
  }
  EXPECT_EQ(d.near->allocated, 0u);  // found before anything was copied
  ASSERT_GT(best, 0);
  ASSERT_LT(best, 4000);
  options.context = best;
  const auto model = Model::open(tiny_weights(), options);
  const Session session(model);
  EXPECT_LE(d.near->allocated, d.near->info_.memory);
  options.context = best + 1000;
  expect_refused(options, Code::kOutOfMemory, "the largest context that fits is");
  d.near->info_.memory = 1000;
  expect_refused(options, Code::kOutOfMemory, "near: does not fit at any context");
}

// What open() promised is there; a plan that needs more is refused each time, and nothing else suffers.
TEST(ModelDevices, APlanThatIsMadeLaterIsRefusedWithFiguresWhereMemoryIsShort) {
  OwnDevices d;
  ModelOptions options = d.options();
  options.chunk = 64;
  d.near->info_.memory = Model::memory_needed(tiny_weights(), options)[0].need.total();
  Session session(Model::open(tiny_weights(), options));
  const std::vector<int32_t> ids(64, 3);
  const BatchItem item{0, ids};
  for (int i = 0; i < 2; ++i) {
    try {
      (void)session.feed_batch({&item, 1}, LogitsOf::kAllRows);
      FAIL() << "fed";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), Code::kOutOfMemory);
      EXPECT_THAT(error.what(), HasSubstr("a step of 64 tokens that was not planned"));
      EXPECT_THAT(error.what(), HasSubstr("are more than the " + human_bytes(d.near->info_.memory) + " of near"));
    }
    EXPECT_EQ(session.position(), 0);
  }
  EXPECT_FALSE(session.feed_batch({&item, 1}, LogitsOf::kLastRows).empty());
}

// The same of the host's memory.
TEST(ModelPlans, ThatAreMadeLaterTakeNoMoreMemoryThanTheModelMay) {
  ModelOptions options = tiny_options();
  options.chunk = 64;
  const MemoryNeed need = Model::memory_needed(tiny_weights(), options)[0].need;
  options.memory = need.weights + need.states + need.arena + need.io;
  options.memory += options.memory / 31 + 1;  // a 32nd is for what is not counted
  const auto model = Model::open(tiny_weights(), options);
  try {
    (void)model->plan(64, LogitsOf::kAllRows);
    FAIL() << "made";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Code::kOutOfMemory);
    EXPECT_THAT(error.what(), HasSubstr("more of memory, and "));
  }
}

TEST(ModelDevices, ReportsANodeThatNobodyTakes) {
  OwnDevices d;
  d.near->accept = [](const OpCall& call) {
    return call.op.kind() == OpKind::kAttend ? Support::no("no attention") : Support{};
  };
  expect_refused(d.options(), Code::kUnsupported, "near refuses L00.attn.attend: no attention");
}

TEST(MemoryCheck, SaysWhatDoesNotFit) {
  const DeviceInfo device{.name = "gpu", .description = "", .max_allocation = 3000, .memory = 10000, .features = {}};
  EXPECT_EQ(exceeds(device, {.weights = 5000, .states = 3000, .largest_state = 3000, .arena = 1500, .io = 500}), "");
  EXPECT_EQ(exceeds(device, {.weights = 5000, .states = 3000, .largest_state = 3000, .arena = 1500, .io = 501}),
            "4.88 KiB of weights, 2.93 KiB of state and 1.95 KiB of working memory are more than the 9.77 KiB of gpu");
  EXPECT_THAT(exceeds(device, {.states = 3001, .largest_state = 3001}), HasSubstr("the largest state takes 2.93 KiB"));
  EXPECT_THAT(exceeds(device, {.arena = 3001}), HasSubstr("working memory takes"));
  EXPECT_NE(exceeds(device, {.weights = SIZE_MAX, .states = 100}), "");  // the sum overflows
  EXPECT_EQ(exceeds(DeviceInfo{}, {.weights = SIZE_MAX}), "");           // nothing is known of this device
}

TEST(MemoryCheck, FindsTheLargestContext) {
  EXPECT_EQ(largest_context(1000, [](int64_t c) { return c <= 637; }), 637);
  EXPECT_EQ(largest_context(1000, [](int64_t c) { return c <= 1; }), 1);
  EXPECT_EQ(largest_context(1000, [](int64_t) { return false; }), 0);
  EXPECT_EQ(largest_context(1000, [](int64_t) { return true; }), 999);  // the limit itself is known not to
}

}  // namespace
}  // namespace v4rt
