// The laws of sequence state: whatever was done to a sequence, it gives the bits of a fresh run of its tokens.

#include <gtest/gtest.h>

#include <cstdlib>
#include <deque>
#include <random>

#include "tests/support/models.h"
#include "tests/support/tiny_model.h"

namespace v4rt {
namespace {

constexpr int kSlots = 3, kRewind = 6, kOperations = 200;
constexpr int64_t kContext = 96, kBlock = 8;  // a multiple of the tiny model's ratios

ModelOptions options_of(const std::string& device, NumberMode numbers, int chunk, int slots, int draft = 0) {
  ModelOptions options = tiny_options();
  options.device = device;
  options.numbers = numbers;
  options.context = kContext;
  options.chunk = chunk;
  options.slots = slots;
  options.rewind = kRewind;
  options.draft = draft;
  return options;
}

std::shared_ptr<const Model> open(const std::string& device, NumberMode numbers, int chunk, int slots, int draft = 0) {
  return Model::open(tiny_weights(), options_of(device, numbers, chunk, slots, draft));
}

// Of entries large enough for many pages, on devices that begin with room for few positions.
constexpr int64_t kLongContext = 1500;
std::shared_ptr<const Model> open_long(const std::string& device, NumberMode numbers, int chunk, int slots, int draft) {
  V4Config config = tiny_config();
  config.head_dim = config.index_head_dim = 64;
  ModelOptions options = options_of(device, numbers, chunk, slots, draft);
  options.context = kLongContext;
  options.reserve = 40;
  if (numbers == NumberMode::kPlain) options.device_options.lanes = Lanes::kWorkItems;
  return Model::open(tiny_weights(config), options);
}

// A session, and beside it what its sequences should be.
struct Place {
  explicit Place(std::shared_ptr<const Model> model) : session(std::move(model)), sequences(kSlots) {}

  struct Sequence {
    std::vector<int32_t> tokens;
    size_t furthest = 0, start = 0;  // where it has been; where it was last put down
    std::vector<size_t> checkpoints;
  };
  Session session;
  std::vector<Sequence> sequences;
};

class Program {
 public:
  Program(const std::vector<std::shared_ptr<const Model>>& models, Session& fresh, uint32_t seed)
      : fresh_(fresh),
        context_(static_cast<size_t>(fresh.model().options().context)),
        most_(context_ / 5),
        random_(seed) {
    for (const auto& model : models) places_.emplace_back(model);
  }

  void run() {
    for (int i = 0; i < kOperations && !testing::Test::HasFailure(); ++i) {
      place_ = &places_[below(places_.size())];
      slot_ = static_cast<int>(below(kSlots));
      operation();
    }
    for (Place& place : places_)
      for (int slot = 0; slot < kSlots; ++slot) check_state(place, slot);
  }

 private:
  using Sequence = Place::Sequence;
  size_t below(size_t n) { return random_() % n; }
  Session& session() { return place_->session; }
  Sequence& sequence(int slot) { return place_->sequences[static_cast<size_t>(slot)]; }
  Sequence& sequence() { return sequence(slot_); }

  void operation() {
    switch (below(11)) {
      case 0: return save();
      case 1: return restore();
      case 2: return fork();
      case 3: return rewind();
      case 4: return checkpoint();
      case 5: return truncate();
      case 6: return take_apart();
      case 7: return batch();
      case 8: return guess();
      default: return feed();
    }
  }

  std::vector<int32_t> more(size_t most) {
    std::vector<int32_t> ids(1 + below(most));
    for (int32_t& id : ids) id = static_cast<int32_t>(below(32));
    return ids;
  }
  void append(Sequence& to, std::span<const int32_t> ids) {
    to.tokens.insert(to.tokens.end(), ids.begin(), ids.end());
    to.furthest = std::max(to.furthest, to.tokens.size());
  }
  void make_room(int slot, size_t n) {
    if (sequence(slot).tokens.size() + n <= context_) return;
    session().reset(slot);
    sequence(slot) = {};
  }

  void feed() {
    const std::vector<int32_t> ids = more(most_);
    make_room(slot_, ids.size());
    append(sequence(), ids);
    check_logits(session().feed(ids, slot_), sequence().tokens);
  }
  void batch() {
    std::vector<std::vector<int32_t>> ids;
    std::vector<BatchItem> items;
    for (int slot = 0; slot < kSlots; ++slot) {
      ids.push_back(more(2));
      make_room(slot, ids.back().size());
      append(sequence(slot), ids.back());
    }
    for (int slot = kSlots; slot-- > 0;) items.push_back({slot, ids[static_cast<size_t>(slot)]});
    const auto logits = session().feed_batch(items);
    for (size_t i = 0; i < kSlots; ++i) {
      check_logits(logits.subspan(i * logits.size() / kSlots, logits.size() / kSlots), sequence(items[i].slot).tokens);
    }
  }
  // Guesses change nothing, whatever they are; those that were fed and found wrong are taken back.
  void guess() {
    const int n = session().model().options().draft;
    const size_t here = sequence().tokens.size();
    if (n == 0 || here == 0 || here + static_cast<size_t>(n) >= context_) return;
    const Session::DraftItem item{slot_, static_cast<int32_t>(below(32))};
    std::vector<int32_t> fed{item.next};
    for (const int32_t guess : session().draft({&item, 1}, n))
      if (guess >= 0) fed.push_back(guess);
    if (below(3) == 0) return check_state(*place_, slot_);
    const BatchItem step{slot_, fed};
    const auto logits = session().feed_batch({&step, 1}, LogitsOf::kAllRows);
    append(sequence(), fed);
    check_logits(logits.last(32), sequence().tokens);
    cut(here + 1 + below(fed.size()));
  }
  void save() {
    saved_.emplace_back(sequence().tokens, session().snapshot(slot_));
    check_bytes(saved_.back().second, sequence().tokens);
  }
  void put_down(const std::vector<int32_t>& tokens) {
    sequence() = {.tokens = tokens, .furthest = tokens.size(), .start = tokens.size(), .checkpoints = {}};
  }
  void restore() {
    if (saved_.empty()) return;
    const auto& [tokens, snapshot] = saved_[below(saved_.size())];
    session().restore(snapshot, slot_);
    put_down(tokens);
  }
  void fork() {
    const int to = static_cast<int>(below(kSlots));
    session().fork(slot_, to);
    sequence(to) = Sequence(sequence());
  }
  void cut(size_t to) {
    session().truncate(static_cast<int64_t>(to), slot_);
    sequence().tokens.resize(to);
    std::erase_if(sequence().checkpoints, [&](size_t c) { return c > to; });
    check_state(*place_, slot_);
  }
  // As far as it is promised; what is kept beyond may go back further.
  void rewind() {
    const size_t here = sequence().tokens.size(), furthest = sequence().furthest;
    const size_t least = std::max(sequence().start, furthest > kRewind ? furthest - kRewind : 0);
    if (least <= here) cut(least + below(here - least + 1));
  }
  void checkpoint() {
    session().checkpoint(slot_);
    sequence().checkpoints.push_back(sequence().tokens.size());
  }
  void truncate() {
    const auto& known = sequence().checkpoints;
    const size_t to = known.empty() ? 0 : known[below(known.size())];
    cut(to);
    if (to == 0) sequence() = {};
  }
  // In parts, as a prefix cache keeps it, and put together in another place.
  void take_apart() {
    const std::vector<int32_t> tokens = sequence().tokens;
    const auto position = static_cast<int64_t>(tokens.size()), blocks = position / kBlock;
    std::vector<Bytes> held;
    for (int64_t b = 0; b < blocks; ++b) held.push_back(session().entries(b * kBlock, (b + 1) * kBlock, slot_));
    const Bytes tail = session().tail(blocks * kBlock, slot_);
    const std::vector<std::span<const std::byte>> parts(held.begin(), held.end());
    place_ = &places_[below(places_.size())];
    slot_ = static_cast<int>(below(kSlots));
    session().assemble(position, kBlock, parts, tail, slot_);
    put_down(tokens);
    check_state(*place_, slot_);
  }

  void feed_fresh(std::span<const int32_t> tokens) {
    fresh_.reset();
    if (!tokens.empty()) fresh_logits_ = fresh_.feed(tokens);
  }
  void check_logits(std::span<const float> logits, std::span<const int32_t> tokens) {
    feed_fresh(tokens);
    ASSERT_TRUE(std::equal(logits.begin(), logits.end(), fresh_logits_.begin(), fresh_logits_.end()))
        << "after " << tokens.size() << " tokens";
  }
  void check_bytes(const Snapshot& snapshot, std::span<const int32_t> tokens) {
    feed_fresh(tokens);
    ASSERT_TRUE(snapshot.bytes == fresh_.snapshot().bytes) << "after " << tokens.size() << " tokens";
  }
  void check_state(Place& place, int slot) {
    check_bytes(place.session.snapshot(slot), place.sequences[static_cast<size_t>(slot)].tokens);
  }

  Session& fresh_;
  const size_t context_, most_;  // positions; tokens fed at once
  std::span<const float> fresh_logits_;
  std::mt19937 random_;
  std::deque<Place> places_;
  std::vector<std::pair<std::vector<int32_t>, Snapshot>> saved_;
  Place* place_ = nullptr;
  int slot_ = 0;
};

class Laws : public testing::TestWithParam<std::tuple<std::string, NumberMode>> {};

// V4RT_LAW_PROGRAMS: how many; each moves sequences between the device and a CPU of another chunk.
TEST_P(Laws, RandomProgramsGiveTheBitsOfAFreshRun) {
  const auto& [device, numbers] = GetParam();
  const char* wanted = std::getenv("V4RT_LAW_PROGRAMS");
  const int programs = wanted != nullptr ? std::atoi(wanted) : device == "cpu" ? 80 : 10;
  const std::vector<std::shared_ptr<const Model>> models{open(device, numbers, 7, kSlots, 2),
                                                         open("cpu", numbers, 20, kSlots)};
  Session fresh(open("cpu", numbers, static_cast<int>(kContext), 1));
  for (int i = 0; i < programs && !HasFailure(); ++i) {
    SCOPED_TRACE(fmt::format("program {}", i));
    Program(models, fresh, static_cast<uint32_t>(i)).run();
  }
}

// Over sequences whose forks share pages, and whose state grows.
TEST_P(Laws, RandomProgramsOfLongSequences) {
  const auto& [device, numbers] = GetParam();
  const std::vector<std::shared_ptr<const Model>> models{open_long(device, numbers, 100, kSlots, 2),
                                                         open_long("cpu", numbers, 64, kSlots, 0)};
  Session fresh(open_long("cpu", numbers, static_cast<int>(kLongContext), 1, 0));
  for (uint32_t i = 0; i < (device == "cpu" ? 6 : 2) && !HasFailure(); ++i) {
    SCOPED_TRACE(fmt::format("program {}", i));
    Program(models, fresh, i).run();
  }
}

TEST_P(Laws, WhatWentBackFurtherThanIsPromisedForks) {
  const auto& [device, numbers] = GetParam();
  Session session(open(device, numbers, 7, 2));
  const std::vector<int32_t> ids = tiny_ids(30);
  const auto first = std::span(ids).first(10);
  session.feed(first);
  session.feed(tiny_ids(kRewind + 2));
  session.truncate(10);
  session.fork(0, 1);
  const std::vector<float> expected = copy_of(session.feed(std::span(ids).subspan(10)));
  EXPECT_EQ(copy_of(session.feed(std::span(ids).subspan(10), 1)), expected);
  EXPECT_TRUE(session.snapshot(1).bytes == session.snapshot(0).bytes);
  session.reset();
  EXPECT_EQ(copy_of(session.feed(ids)), expected);
}

TEST_P(Laws, PromptsMayEndAnywhere) {
  const auto& [device, numbers] = GetParam();
  ModelOptions options = tiny_options();
  options.device = device;
  options.numbers = numbers;
  options.context = 400;
  options.chunk = 64;
  const auto model = Model::open(tiny_weights(), options);
  const std::vector<int32_t> ids = tiny_ids(387);
  Session stepwise(model), whole(model);
  for (size_t n = 1; n <= ids.size() && !HasFailure(); ++n) {
    const std::vector<float> expected = copy_of(stepwise.feed(std::span(ids).subspan(n - 1, 1)));
    if (n > 300 && (n + 2) % 128 > 2) continue;  // then around multiples of 128 alone
    whole.reset();
    EXPECT_EQ(copy_of(whole.feed(std::span(ids).first(n))), expected) << n;
    EXPECT_TRUE(whole.snapshot().bytes == stepwise.snapshot().bytes) << n;
  }
}

// The first guess is the likeliest token by the MTP block's logits, as score() gives them.
TEST_P(Laws, GuessesAreTheMtpBlocks) {
  const auto& [device, numbers] = GetParam();
  ModelOptions options = tiny_options();
  options.device = device;
  options.numbers = numbers;
  options.mtp = true;
  options.draft = 3;
  const auto model = Model::open(tiny_weights(), options);
  Session session(model), scored(model);
  const auto guess = [&](int32_t next, int n) {
    const Session::DraftItem item{0, next};
    return session.draft({&item, 1}, n);
  };
  for (int32_t shift = 0; shift < 16; ++shift) {
    std::vector<int32_t> ids = tiny_ids(50);
    for (int32_t& id : ids) id = (id + shift) % 32;
    session.reset();
    scored.reset();
    const Scores scores = score_all(scored, ids);
    for (size_t n = 1; n + 1 < ids.size(); n += n % 3 + 1) {
      const auto fed = static_cast<size_t>(session.position());
      session.feed(std::span(ids).subspan(fed, n - fed));
      // What was guessed for another token, or fed and taken back, leaves no trace.
      const int32_t next = ids[n], wrong = (next + 1) % 32;
      guess(wrong, 2);
      const auto wanted = argmax(std::span(scores.mtp).subspan((n - 1) * 32, 32));
      EXPECT_EQ(static_cast<size_t>(guess(next, 1)[0]), wanted) << shift << " " << n;
      session.feed(std::vector<int32_t>{wrong, 3, 4});
      guess(wrong, 1);
      session.rewind(3);
      const auto guesses = guess(next, 3);
      EXPECT_EQ(static_cast<size_t>(guesses[0]), wanted) << shift << " " << n;
      for (const int32_t id : guesses) EXPECT_TRUE(id >= 0 && id < 32) << n;
      guess(wrong, 1);  // and then another token comes
    }
  }
}

// After it was put down somewhere, a sequence is guessed for by what was fed since, whoever had its place before.
TEST_P(Laws, GuessesForgetWhoWasThereBefore) {
  const auto& [device, numbers] = GetParam();
  ModelOptions options = tiny_options();
  options.device = device;
  options.numbers = numbers;
  options.draft = 3;
  const auto model = Model::open(tiny_weights(), options);
  Session first(model), used(model);
  first.feed(tiny_ids(21));
  const Snapshot snapshot = first.snapshot();
  std::vector<int32_t> others = tiny_ids(40);
  std::ranges::reverse(others);
  used.feed(others);
  const Session::DraftItem other{0, 7};
  used.draft({&other, 1}, 3);
  const auto guesses = [&](Session& session) {
    session.restore(snapshot);
    const Session::DraftItem item{0, 3};
    EXPECT_EQ(session.draft({&item, 1}, 1)[0], -1);  // there is nothing to go by yet
    std::vector<int32_t> all;
    for (int32_t id = 3; id < 12; ++id) {
      session.feed({&id, 1});
      const Session::DraftItem next{0, id + 1};
      const auto some = session.draft({&next, 1}, 3);
      all.insert(all.end(), some.begin(), some.end());
    }
    return all;
  };
  EXPECT_EQ(guesses(used), guesses(first));
}

TEST_P(Laws, GoingBackFurtherThanIsKeptIsRefused) {
  const auto& [device, numbers] = GetParam();
  Session session(open(device, numbers, 7, 1));
  const std::vector<int32_t> ids = tiny_ids(40);
  session.feed(ids);
  const Snapshot before = session.snapshot();
  session.checkpoint();
  EXPECT_EQ(session.checkpoints(), std::vector<int64_t>{40});
  for (const int64_t to : {int64_t{-1}, int64_t{3}, int64_t{41}}) EXPECT_THROW(session.truncate(to), Error) << to;
  EXPECT_TRUE(session.snapshot().bytes == before.bytes);
  session.feed(tiny_ids(30));
  session.truncate(40);
  EXPECT_TRUE(session.snapshot().bytes == before.bytes);
  session.feed(tiny_ids(30));
  session.drop_checkpoint(40);
  EXPECT_TRUE(session.checkpoints().empty());
  EXPECT_THROW(session.truncate(40), Error);
  session.restore(before);
  session.feed(tiny_ids(20));
  session.checkpoint();
  session.rewind(kRewind);
  EXPECT_EQ(session.position(), 60 - kRewind);
  EXPECT_TRUE(session.checkpoints().empty());
}

INSTANTIATE_TEST_SUITE_P(Devices, Laws,
                         testing::Combine(testing::ValuesIn(built_in_backends()),
                                          testing::Values(NumberMode::kFaithful, NumberMode::kPlain)),
                         [](const auto& info) {
                           return std::get<0>(info.param) + "_" + mode_name(std::get<1>(info.param));
                         });

}  // namespace
}  // namespace v4rt
