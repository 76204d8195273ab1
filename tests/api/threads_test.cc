// One model, eight threads with a session each: the same bits as alone, however they share its threads. And ten
// thousand sessions, one after the other, leave nothing behind. threads_test MODEL

#include <malloc.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <thread>
#include <v4rt.hpp>
#include <vector>

namespace {

const std::vector<int32_t> kPrompt = {0, 320, 1843, 652, 844, 1218, 313, 260, 5, 17};

// The logits after the prompt and after each of the tokens that follow it.
std::vector<float> logits_of_a_text(const v4rt::Model& model) {
  v4rt::Session session(model);
  v4rt::Sampler greedy(model);
  std::vector<float> all;
  auto logits = session.feed(kPrompt);
  for (int i = 0; i < 20; ++i) {
    all.insert(all.end(), logits.begin(), logits.end());
    const int32_t id = greedy.sample(logits);
    logits = session.feed({&id, 1});
  }
  return all;
}

bool threads_agree(const v4rt::Model& model) {
  const std::vector<float> alone = logits_of_a_text(model);
  std::atomic<int> same = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      for (int run = 0; run < 3; ++run) same += logits_of_a_text(model) == alone ? 1 : 0;
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::printf("%d of 24 texts from 8 threads have the bits of one alone\n", same.load());
  return same == 24;
}

bool sessions_leave_nothing(const v4rt::Model& model) {
  const auto open_and_close = [&](int times) {
    for (int i = 0; i < times; ++i) {
      v4rt::Session session(model);
      if (i % 50 == 0) session.feed(kPrompt);
    }
  };
  open_and_close(1000);
  const size_t before = mallinfo2().uordblks;
  open_and_close(9000);
  const size_t after = mallinfo2().uordblks;
  std::printf("bytes in use after 1,000 sessions: %zu, after 10,000: %zu\n", before, after);
  return after <= before + 4096;
}

}  // namespace

int main(int argc, char** argv) try {
  v4rt::ModelOptions options{.context = 64, .chunk = 4, .threads = 3};
  const std::string path = argc > 1 ? argv[1] : "";
  for (const v4rt_thread_sharing sharing : {V4RT_THREADS_TURNS, V4RT_THREADS_OWN, V4RT_THREADS_FIRST}) {
    options.thread_sharing = sharing;
    if (!threads_agree(v4rt::Model::open(path, options))) return 1;
  }
  return sessions_leave_nothing(v4rt::Model::open(path, options)) ? 0 : 1;
} catch (const std::exception& e) {
  std::fprintf(stderr, "threads_test: %s\n", e.what());
  return 1;
}
