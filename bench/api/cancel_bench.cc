// How long a program waits that says stop: from the callback that says it to the return of the call, beside the longest
// time between two callbacks, which is what it waits at most before it is asked. cancel_bench MODEL [TOKENS]

#include <v4rt.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

// Callbacks of one call: when they came, and the one that says stop.
struct Calls {
  int64_t stop_at = -1;
  int64_t count = 0;
  Clock::time_point last = Clock::now();
  double longest = 0;  // seconds

  int next() {
    const auto now = Clock::now();
    longest = std::max(longest, std::chrono::duration<double>(now - last).count());
    last = now;
    return count++ == stop_at ? 0 : 1;
  }
};

int on_open(const char*, double, void* calls) { return static_cast<Calls*>(calls)->next(); }
int on_read(int64_t, int64_t, void* calls) { return static_cast<Calls*>(calls)->next(); }
int on_token(int32_t, void* calls) { return static_cast<Calls*>(calls)->next(); }

void ok(v4rt_status status) {
  if (status == V4RT_OK) return;
  std::fprintf(stderr, "cancel_bench: %s\n", v4rt_last_error());
  std::exit(1);
}

// `call` runs to its end, and then stops at eight places.
void measure(const char* what, const std::function<void(Calls&)>& call) {
  Calls whole;
  call(whole);
  double slowest = 0;
  for (int64_t i = 0; i < 8; ++i) {
    Calls calls{.stop_at = whole.count * i / 8};
    call(calls);
    slowest = std::max(slowest, std::chrono::duration<double>(Clock::now() - calls.last).count());
  }
  std::printf("%s: %lld callbacks, at most %.2f ms apart; returns %.2f ms after one says stop\n", what,
              static_cast<long long>(whole.count), 1e3 * whole.longest, 1e3 * slowest);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) return 2;
  const std::vector<int32_t> prompt(argc > 2 ? static_cast<size_t>(std::atoll(argv[2])) : 512, 5);
  v4rt_model_options options{};
  options.struct_size = sizeof(options);
  v4rt_model* model = nullptr;
  measure("open", [&](Calls& calls) {
    v4rt_model_close(model);
    model = nullptr;
    options.progress = on_open;
    options.progress_user = &calls;
    const v4rt_status status = v4rt_model_open(argv[1], &options, &model);
    if (status != V4RT_CANCELLED) ok(status);
  });
  options.progress = nullptr;
  ok(v4rt_model_open(argv[1], &options, &model));
  v4rt_session* session = nullptr;
  ok(v4rt_session_open(model, &session));
  measure("prefill", [&](Calls& calls) {
    ok(v4rt_session_reset(session, 0));
    ok(v4rt_session_on_progress(session, on_read, &calls));
    const v4rt_status status = v4rt_session_feed(session, 0, prompt.data(), prompt.size(), nullptr);
    if (status != V4RT_CANCELLED) ok(status);
  });
  ok(v4rt_session_on_progress(session, nullptr, nullptr));
  v4rt_generate_options few{};
  few.struct_size = sizeof(few);
  few.max_tokens = 32;
  few.ignore_end_token = 1;
  measure("decode", [&](Calls& calls) {
    ok(v4rt_session_reset(session, 0));
    ok(v4rt_generate(session, prompt.data(), 4, &few, nullptr, on_token, &calls, nullptr));
  });
  v4rt_session_close(session);
  v4rt_model_close(model);
}
