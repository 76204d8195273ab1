// What the C interface costs: a token by v4rt.h beside one by the C++ below it, with the same session, turn and turn
// about. Prints the medians of a token's time, and the median of the pairs' ratios.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <functional>
#include <vector>

#include "graph/api/boundary.h"

namespace {

using Prompt = std::vector<int32_t>;

struct Bench {
  v4rt_session* session = nullptr;
  v4rt_sampler* sampler = nullptr;
  Prompt prompt = {0, 320, 1843, 652, 844, 1218, 313, 260, 5, 17};
  int64_t tokens = 200;
  int64_t seen = 0;

  // As a program does it that looks at the logits itself.
  void loop_cc() {
    auto logits = session->session.feed(prompt);
    for (int64_t i = 0; i < tokens; ++i) {
      const int32_t id = sampler->sampler.sample(logits);
      logits = session->session.feed({&id, 1});
      ++seen;
    }
  }
  void loop_c() {
    const float* logits = nullptr;
    ok(v4rt_session_feed(session, 0, prompt.data(), prompt.size(), &logits));
    for (int64_t i = 0; i < tokens; ++i) {
      int32_t id = 0;
      ok(v4rt_sampler_sample(sampler, logits, sampler->vocab_size, &id));
      ok(v4rt_session_feed(session, 0, &id, 1, &logits));
      ++seen;
    }
  }
  void generate_cc() {
    v4rt::generate(session->session, prompt, {.max_tokens = tokens}, sampler->sampler,
                   [&](int32_t) { return ++seen > 0; });
  }
  void generate_c() {
    v4rt_generate_options options{};
    options.struct_size = sizeof(options);
    options.max_tokens = tokens;
    options.ignore_end_token = 1;
    const auto count = [](int32_t, void* user) { return ++static_cast<Bench*>(user)->seen > 0 ? 1 : 0; };
    ok(v4rt_generate(session, prompt.data(), prompt.size(), &options, sampler, count, this, nullptr));
  }

  static void ok(v4rt_status status) {
    if (status != V4RT_OK) throw std::runtime_error(v4rt_last_error());
  }
};

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

using Way = void (Bench::*)();

void compare(Bench& bench, const char* what, Way cc, Way c, int pairs) {
  const auto microseconds = [&](Way way) {
    bench.session->session.reset();
    const auto start = std::chrono::steady_clock::now();
    (bench.*way)();
    return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start).count() /
           static_cast<double>(bench.tokens);
  };
  std::vector<double> times_cc, times_c, ratios;
  for (int i = 0; i < pairs; ++i) {
    const bool c_first = i % 2 == 1;
    const double first = microseconds(c_first ? c : cc), second = microseconds(c_first ? cc : c);
    times_cc.push_back(c_first ? second : first);
    times_c.push_back(c_first ? first : second);
    ratios.push_back(times_c.back() / times_cc.back());
  }
  fmt::print("{:9} C++ {:.2f} us a token, C {:.2f}: {:+.2f} %\n", what, median(times_cc), median(times_c),
             (median(ratios) - 1) * 100);
}

}  // namespace

int main(int argc, char** argv) try {
  CLI::App app("What the C interface costs.");
  std::string path;
  int32_t threads = 1;
  int pairs = 101;
  Bench bench;
  app.add_option("model", path)->required();
  app.add_option("--threads", threads)->capture_default_str();
  app.add_option("--pairs", pairs)->capture_default_str()->check(CLI::PositiveNumber);
  app.add_option("-n,--tokens", bench.tokens)->capture_default_str()->check(CLI::PositiveNumber);
  CLI11_PARSE(app, argc, argv);
  v4rt_model_options options{};
  options.struct_size = sizeof(options);
  options.threads = threads;
  v4rt_model* model = nullptr;
  Bench::ok(v4rt_model_open(path.c_str(), &options, &model));
  Bench::ok(v4rt_session_open(model, &bench.session));
  Bench::ok(v4rt_sampler_open(model, nullptr, &bench.sampler));
  bench.generate_c();  // to warm up
  compare(bench, "feed", &Bench::loop_cc, &Bench::loop_c, pairs);
  compare(bench, "generate", &Bench::generate_cc, &Bench::generate_c, pairs);
  v4rt_sampler_close(bench.sampler);
  v4rt_session_close(bench.session);
  v4rt_model_close(model);
  return bench.seen == bench.tokens * (4 * pairs + 1) ? 0 : 1;
} catch (const std::exception& e) {
  fmt::print(stderr, "api_bench: {}\n", e.what());
  return 1;
}
