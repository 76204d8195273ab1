// A program may call from threads with small stacks: the default of musl is 128 KiB.

#include <gtest/gtest.h>
#include <pthread.h>

#include <functional>
#include <numeric>

#include "tests/support/models.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr size_t kStack = size_t{1} << 20;  // sanitizers pad every frame
#else
constexpr size_t kStack = size_t{128} << 10;
#endif

namespace v4rt {
namespace {

void run_with_small_stack(const std::function<void()>& body) {
  pthread_attr_t attributes;
  ASSERT_EQ(pthread_attr_init(&attributes), 0);
  ASSERT_EQ(pthread_attr_setstacksize(&attributes, kStack), 0);
  pthread_t thread{};
  const auto start = [](void* argument) -> void* {
    (*static_cast<const std::function<void()>*>(argument))();
    return nullptr;
  };
  ASSERT_EQ(pthread_create(&thread, &attributes, start, const_cast<std::function<void()>*>(&body)), 0);
  pthread_join(thread, nullptr);
  pthread_attr_destroy(&attributes);
}

TEST(SmallStack, PromptAndDecodingOnTheCpu) {
  const auto model = open_model(mini_path(), {.device = "cpu", .chunk = 256, .context = 400});
  std::vector<int32_t> ids(300);
  std::iota(ids.begin(), ids.end(), 5);
  const auto logits_after = [&](std::vector<float>& logits) {
    Session session(model);
    for (const int64_t n : {296, 1, 3}) {
      const auto some =
          session.feed(std::span(ids).subspan(static_cast<size_t>(session.position()), static_cast<size_t>(n)));
      logits.assign(some.begin(), some.end());
    }
  };
  std::vector<float> expected, got;
  logits_after(expected);
  run_with_small_stack([&] { logits_after(got); });
  EXPECT_EQ(got, expected);
}

}  // namespace
}  // namespace v4rt
