#include "graph/runtime/session.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <limits>
#include <thread>

#include "tests/support/safetensors_writer.h"
#include "tests/support/tiny_model.h"

namespace v4rt {
namespace {

using ::testing::HasSubstr;

class SessionTest : public ::testing::TestWithParam<NumberMode> {
 protected:
  std::shared_ptr<const Model> open(ModelOptions options = tiny_options()) const {
    options.numbers = GetParam();
    return Model::open(tiny_weights(), options);
  }
};

INSTANTIATE_TEST_SUITE_P(Modes, SessionTest, ::testing::Values(NumberMode::kFaithful, NumberMode::kPlain),
                         [](const auto& p) { return p.param == NumberMode::kPlain ? "plain" : "faithful"; });

TEST_P(SessionTest, AnySplitGivesTheSameLogitsAndState) {
  const auto model = open();
  const std::vector<int32_t> ids = tiny_ids(41);
  Session whole(model);
  const std::vector<float> expected = copy_of(whole.feed(ids));
  EXPECT_EQ(whole.position(), 41);
  for (const size_t step : {1u, 2u, 5u, 7u, 13u}) {
    Session split(model);
    std::vector<float> logits;
    for (size_t at = 0; at < ids.size(); at += step) {
      logits = copy_of(split.feed(std::span(ids).subspan(at, std::min(step, ids.size() - at))));
    }
    EXPECT_EQ(logits, expected) << "steps of " << step;
    EXPECT_TRUE(split.snapshot().bytes == whole.snapshot().bytes) << "steps of " << step;
  }
}

TEST_P(SessionTest, AnyChunkGivesTheSameLogits) {
  const std::vector<int32_t> ids = tiny_ids(41);
  const std::vector<float> expected = copy_of(Session(open()).feed(ids));
  for (const int chunk : {1, 3, 64}) {
    ModelOptions options = tiny_options();
    options.chunk = chunk;
    EXPECT_EQ(copy_of(Session(open(options)).feed(ids)), expected) << chunk;
  }
}

TEST_P(SessionTest, ScoreHandsOverWhatFeedReturns) {
  ModelOptions options = tiny_options();
  options.mtp = true;
  const auto model = open(options);
  const std::vector<int32_t> ids = tiny_ids(20);
  std::vector<std::vector<float>> rows, mtp;
  Session scored(model);
  scored.score(ids, [&](int64_t i, std::span<const float> logits, std::span<const float> mtp_logits) {
    EXPECT_EQ(i, static_cast<int64_t>(rows.size()));
    rows.push_back(copy_of(logits));
    mtp.push_back(copy_of(mtp_logits));
  });
  EXPECT_EQ(scored.position(), 20);
  ASSERT_EQ(rows.size(), ids.size());
  Session fed(model);
  for (size_t i = 0; i < ids.size(); ++i) {
    EXPECT_EQ(copy_of(fed.feed({&ids[i], 1})), rows[i]) << i;
    EXPECT_EQ(mtp[i].size(), i + 1 < ids.size() ? 32u : 0u);
  }
  EXPECT_EQ(copy_of(fed.feed(ids)), copy_of(scored.feed(ids)));

  options.chunk = 20;  // the block's rows do not depend on the split either
  Session once(open(options));
  once.score(ids, [&](int64_t i, std::span<const float>, std::span<const float> mtp_logits) {
    EXPECT_EQ(copy_of(mtp_logits), mtp[static_cast<size_t>(i)]) << i;
  });
  once.score(ids, [&](int64_t, std::span<const float>, std::span<const float> mtp_logits) {
    EXPECT_TRUE(mtp_logits.empty());
  });
}

TEST_P(SessionTest, SharingAStepChangesNothing) {
  ModelOptions options = tiny_options();
  options.slots = 3;
  options.chunk = 12;
  const auto model = open(options);
  const std::vector<int32_t> ids = tiny_ids(40);
  const auto part = [&](size_t at, size_t n) { return std::span(ids).subspan(at, n); };
  Session together(model), apart(model);
  for (int slot = 0; slot < 3; ++slot) {
    together.feed(part(0, 5 + static_cast<size_t>(slot) * 9), slot);
    apart.feed(part(0, 5 + static_cast<size_t>(slot) * 9), slot);
  }
  for (int round = 0; round < 4; ++round) {
    const std::vector<BatchItem> items{{2, part(3, 1)}, {0, part(9, 6)}, {1, part(1, 2)}};
    const std::vector<float> logits = copy_of(together.feed_batch(items));
    ASSERT_EQ(logits.size(), 3u * 32u);
    for (size_t i = 0; i < items.size(); ++i) {
      const std::vector<float> alone = copy_of(apart.feed(items[i].tokens, items[i].slot));
      EXPECT_EQ(alone, copy_of(std::span(logits).subspan(i * 32, 32))) << i;
    }
  }
  for (int slot = 0; slot < 3; ++slot) {
    EXPECT_EQ(together.position(slot), apart.position(slot));
    EXPECT_TRUE(together.snapshot(slot).bytes == apart.snapshot(slot).bytes);
  }
  const BatchItem one{1, part(0, 1)};
  EXPECT_EQ(copy_of(together.feed_batch({&one, 1})), copy_of(apart.feed(one.tokens, 1)));
}

TEST_P(SessionTest, SnapshotsBringASequenceBackIntoAnySlot) {
  ModelOptions options = tiny_options();
  options.slots = 2;
  const auto model = open(options);
  const std::vector<int32_t> ids = tiny_ids(30);
  const std::span<const int32_t> tail = std::span(ids).last(7);
  Session session(model);
  session.feed(ids, 0);
  session.feed(tail, 1);
  const Snapshot at_30 = session.snapshot(0), other = session.snapshot(1);
  const std::vector<float> expected = copy_of(session.feed(tail, 0));

  session.restore(at_30, 1);
  EXPECT_EQ(session.position(1), 30);
  EXPECT_EQ(session.position(0), 37);
  EXPECT_EQ(copy_of(session.feed(tail, 1)), expected);
  session.restore(other, 0);
  EXPECT_TRUE(session.snapshot(0).bytes == other.bytes);

  Session single(open());  // another number of sequences, but the same layout of each
  single.restore(at_30);
  EXPECT_EQ(copy_of(single.feed(tail)), expected);
}

TEST_P(SessionTest, ResetForgetsOneSequenceOnly) {
  ModelOptions options = tiny_options();
  options.slots = 2;
  Session session(open(options));
  const Snapshot empty = session.snapshot(1);
  const std::vector<int32_t> ids = tiny_ids(20);
  const std::vector<float> expected = copy_of(session.feed(ids, 0));
  session.feed(ids, 1);
  const Snapshot kept = session.snapshot(0);
  session.reset(1);
  EXPECT_EQ(session.position(1), 0);
  EXPECT_TRUE(session.snapshot(1).bytes == empty.bytes);
  EXPECT_TRUE(session.snapshot(0).bytes == kept.bytes);
  EXPECT_EQ(copy_of(session.feed(ids, 1)), expected);
}

// After each layer of a chunk but its last, and after each chunk but the last.
TEST_P(SessionTest, ProgressIsReported) {
  Session session(open());
  std::vector<int64_t> seen;
  session.on_progress([&](int64_t done, int64_t total) {
    EXPECT_EQ(total, 20);
    seen.push_back(done);
    return true;
  });
  EXPECT_FALSE(session.feed(tiny_ids(20)).empty());
  EXPECT_TRUE(std::ranges::is_sorted(seen));
  EXPECT_EQ(std::ranges::count(seen, 7), 1);
  EXPECT_EQ(std::ranges::count(seen, 14), 1);
  const size_t layers = static_cast<size_t>(session.model().config().num_layers);
  EXPECT_EQ(seen.size(), 3 * (layers - 1) + 2);
  EXPECT_LT(seen.back(), 20);
}

// Whenever it is stopped, by a false or by an exception, the sequence holds whole chunks and goes on from there. A
// chunk writes over all rows that the compressors have not pooled, and no ring keeps more than it must.
TEST_P(SessionTest, ReadingCanStopAnywhere) {
  constexpr int kChunk = 18;
  ModelOptions options = tiny_options();
  options.chunk = kChunk;
  options.rewind = 0;
  const auto model = open(options);
  Session whole(model), session(model);
  const std::vector<int32_t> ids = tiny_ids(40);
  const std::vector<float> expected = copy_of(whole.feed(ids));
  struct Stop {};
  for (const bool throws : {false, true}) {
    size_t stop_at = 0;
    for (bool stopped = true; stopped; ++stop_at) {
      SCOPED_TRACE(fmt::format("{} at call {}", throws ? "an exception" : "a false", stop_at));
      session.reset();
      size_t calls = 0;
      stopped = false;
      session.on_progress([&](int64_t, int64_t) {
        if (calls++ < stop_at) return true;
        stopped = true;
        if (throws) throw Stop();
        return false;
      });
      try {
        EXPECT_EQ(session.feed(ids).empty(), stopped);
      } catch (const Stop&) {
      }
      session.on_progress(nullptr);
      const int64_t at = session.position();
      EXPECT_EQ(at, stopped ? at / kChunk * kChunk : 40);
      if (stopped) {
        EXPECT_EQ(copy_of(session.feed(std::span(ids).subspan(static_cast<size_t>(at)))), expected);
      }
      EXPECT_TRUE(session.snapshot().bytes == whole.snapshot().bytes);
    }
    EXPECT_GT(stop_at, 6u);
  }
}

// Weights with the same names and shapes as all others here, but another identity.
class MarkedWeights final : public WeightSource {
 public:
  explicit MarkedWeights(uint64_t mark) : mark_(mark), weights_(tiny_weights()) {}
  const V4Config& config() const override { return weights_->config(); }
  bool has(std::string_view name) const override { return weights_->has(name); }
  WeightView get(std::string_view name) const override { return weights_->get(name); }
  std::optional<WeightIdentity> identity() const override { return WeightIdentity{"tiny", {0, 0}, {mark_, 0}}; }

 private:
  uint64_t mark_;
  std::shared_ptr<const WeightSource> weights_;
};

TEST_P(SessionTest, SnapshotsAreOfTheirWeights) {
  ModelOptions options = tiny_options();
  options.numbers = GetParam();
  const auto opened = [&](uint64_t mark) { return Model::open(std::make_shared<MarkedWeights>(mark), options); };
  Session first(opened(1)), same(opened(1)), other(opened(2));
  first.feed(tiny_ids(10));
  const Snapshot snapshot = first.snapshot();
  same.restore(snapshot);
  EXPECT_TRUE(same.snapshot().bytes == snapshot.bytes);
  EXPECT_THROW(other.restore(snapshot), Error);
  EXPECT_EQ(other.position(), 0);
}

TEST_P(SessionTest, SnapshotsGoThroughFiles) {
  Session first(open()), second(open());
  first.feed(tiny_ids(20));
  const TempFolder folder;
  const std::string path = folder.path() + "/sequence";
  save_snapshot(first.snapshot(), path);
  second.restore(load_snapshot(path));
  EXPECT_EQ(second.position(), 20);
  EXPECT_TRUE(second.snapshot().bytes == first.snapshot().bytes);
  std::filesystem::resize_file(path, std::filesystem::file_size(path) - 1);
  EXPECT_THROW(load_snapshot(path), Error);
  EXPECT_THROW(load_snapshot(folder.path()), Error);
  EXPECT_THROW(save_snapshot(first.snapshot(), folder.path() + "/"), Error);
}

// What it is: not of which context, chunk or number of sequences.
TEST_P(SessionTest, SnapshotsDependOnTheSequenceAlone) {
  ModelOptions other = tiny_options();
  other.context = 200, other.chunk = 64, other.slots = 4, other.rewind = 50;
  Session here(open()), there(open(other));
  here.feed(tiny_ids(37));
  there.feed(tiny_ids(37), 3);
  EXPECT_TRUE(here.snapshot().bytes == there.snapshot(3).bytes);
  there.restore(here.snapshot(), 1);
  const std::vector<int32_t> next{4};
  EXPECT_EQ(copy_of(here.feed(next)), copy_of(there.feed(next, 1)));
}

// Every bad argument is found before anything changes.
TEST_P(SessionTest, ErrorsLeaveTheSessionAsItWas) {
  ModelOptions options = tiny_options();
  options.slots = 2;
  Session session(open(options));
  const std::vector<int32_t> ids = tiny_ids(60);
  session.feed(std::span(ids).first(10), 0);
  const Snapshot before = session.snapshot(0);

  const std::vector<int32_t> outside{1, 2, 32}, negative{-1};
  const auto refused = [&](const std::function<void()>& body, const std::string& message) {
    try {
      body();
      ADD_FAILURE() << "accepted, expected: " << message;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), Code::kInvalidArgument);
      EXPECT_THAT(error.what(), HasSubstr(message));
    }
  };
  const auto row = [](int64_t, std::span<const float>, std::span<const float>) { ADD_FAILURE(); };
  refused([&] { session.feed({}); }, "no tokens");
  refused([&] { session.feed(ids, 2); }, "no sequence 2");
  refused([&] { session.feed(ids, -1); }, "no sequence -1");
  refused([&] { session.feed(outside); }, "token 2 is 32, outside the vocabulary of 32");
  refused([&] { session.feed(negative); }, "token 0 is -1");
  refused([&] { session.feed(ids); }, "60 tokens after 10 are more than the context of 64");
  refused([&] { session.score(ids, row); }, "context of 64");
  refused([&] { session.score(outside, row); }, "outside the vocabulary");
  const std::span<const int32_t> two = std::span(ids).first(2);
  const std::vector<BatchItem> twice{{0, two}, {0, two}}, bad{{1, two}, {0, outside}},
      many{{0, std::span(ids).first(6)}, {1, two}};
  refused([&] { session.feed_batch({}); }, "no sequences");
  refused([&] { session.feed_batch(twice); }, "twice");
  refused([&] { session.feed_batch(bad); }, "outside the vocabulary");
  refused([&] { session.feed_batch(many); }, "a chunk holds 7");
  for (size_t i = 0; i < before.bytes.size(); ++i) {
    Snapshot wrong = before;
    wrong.bytes[i] ^= std::byte{1};
    EXPECT_THROW(session.restore(wrong), Error) << i;
    wrong = before;
    wrong.bytes.resize(i);
    EXPECT_THROW(session.restore(wrong), Error) << i;
  }
  ModelOptions longer = options;
  longer.context = 100;
  Session far(open(longer));
  far.feed(tiny_ids(65));
  refused([&] { session.restore(far.snapshot()); }, "position 65");
  refused([&] { session.restore(before, 5); }, "no sequence 5");
  refused([&] { session.snapshot(7); }, "no sequence 7");
  refused([&] { session.reset(-1); }, "no sequence -1");

  EXPECT_EQ(session.position(0), 10);
  EXPECT_EQ(session.position(1), 0);
  EXPECT_TRUE(session.snapshot(0).bytes == before.bytes);
}

TEST_P(SessionTest, TheContextCanBeFilledToTheLastPosition) {
  Session session(open());
  const std::vector<int32_t> ids = tiny_ids(64);
  session.feed(ids);
  EXPECT_EQ(session.position(), 64);
  EXPECT_THROW(session.feed(std::span(ids).first(1)), Error);
}

// Plans made lazily, from several threads, by sessions that share a model.
TEST_P(SessionTest, SessionsShareAModelAcrossThreads) {
  const auto model = open();
  const std::vector<int32_t> ids = tiny_ids(15);
  std::vector<std::vector<float>> last(4);
  std::vector<std::thread> threads;
  for (auto& mine : last) {
    threads.emplace_back([&] {
      Session session(model);
      session.score(ids,
                    [&](int64_t, std::span<const float> logits, std::span<const float>) { mine = copy_of(logits); });
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const auto& mine : last) EXPECT_EQ(mine, last[0]);
  EXPECT_EQ(copy_of(Session(model).feed(ids)), last[0]);
}

// A weight that is not finite always reaches the logits and is reported, wherever it is in the model.
TEST_P(SessionTest, LogitsThatAreNotFiniteAreAnError) {
  const auto message = [](const auto& call) -> std::string {
    try {
      call();
    } catch (const Error& error) {
      return error.code() == Code::kCorrupt ? error.what() : "another error";
    }
    return "no error";
  };
  for (const char* name : {"norm.weight", "layers.1.attn.q_norm.weight", "layers.1.attn.kv_norm.weight"}) {
    for (const float value : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
      const auto weights = std::make_shared<const MemoryWeights>(tiny_config(), [&](const WeightInfo& w, int64_t i) {
        return w.name == name && i == 3 ? value : tiny_element(w, i);
      });
      ModelOptions options = tiny_options();
      options.numbers = GetParam();
      const auto model = Model::open(weights, options);
      const std::vector<int32_t> ids = tiny_ids(5);
      const BatchItem item{0, ids};
      SCOPED_TRACE(fmt::format("{} {}", name, value));
      EXPECT_THAT(message([&] { Session(model).feed(ids); }), HasSubstr("position 4: the logit of token"));
      EXPECT_THAT(message([&] { Session(model).feed_batch({&item, 1}); }), HasSubstr("position 4: the logit of token"));
      EXPECT_THAT(message([&] { Session(model).score(ids, [](auto&&...) {}); }),
                  HasSubstr("position 0: the logit of token"));
    }
  }
}

}  // namespace
}  // namespace v4rt
