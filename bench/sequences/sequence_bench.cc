// What is done to whole sequences, and how long it takes: going back, forking, saving, beginnings that are kept, many
// at once. Times are medians of repetitions, ratios of runs beside each other.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <map>
#include <random>

#include "graph/runtime/prefix_cache.h"
#include "graph/runtime/scheduler.h"
#include "graph/runtime/synthetic_state.h"
#include "loaders/checkpoint/checkpoint.h"
#include "ops/core/host.h"
#include "ops/core/human.h"

namespace v4rt {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_of(const std::function<void()>& body) {
  const auto start = Clock::now();
  body();
  return std::chrono::duration<double>(Clock::now() - start).count();
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

struct Options {
  std::string model, device = "cpu";
  int64_t depth = 100000, prefix = 8192;
  int repetitions = 5, sequences = 8, requests = 64;
  int64_t decode = 16, long_prompt = 100000;
  std::vector<int64_t> deep;
};

class Bench {
 public:
  explicit Bench(const Options& options)
      : options_(options), weights_(open_checkpoint(options.model).weights), vocab_(weights_->config().vocab_size) {}

  void run() {
    copies();
    prefix();
    together();
    mixed();
    deep();
  }

 private:
  std::shared_ptr<const Model> open(int64_t context, int slots) const {
    ModelOptions o;
    o.device = options_.device;
    o.context = std::min(context, weights_->config().max_position);
    o.slots = slots;
    return Model::open(weights_, o);
  }
  std::vector<int32_t> ids(size_t n) {
    std::vector<int32_t> ids(n);
    for (int32_t& id : ids) id = static_cast<int32_t>(random_() % static_cast<uint64_t>(vocab_));
    return ids;
  }
  double repeated_value(const std::function<double()>& figure) const {
    std::vector<double> figures;
    for (int i = 0; i < options_.repetitions; ++i) figures.push_back(figure());
    return median(figures);
  }
  double repeated(const std::function<void()>& body) const {
    return repeated_value([&] { return seconds_of(body); });
  }

  void copies() {
    if (options_.depth == 0) return;
    const auto model = open(options_.depth + 64, 2);
    Session session(model);
    fill_synthetic_state(session, options_.depth);
    Snapshot snapshot = session.snapshot();
    const auto row = [](std::string_view what, double seconds) {
      fmt::print("{:<44} {:10.2f} ms\n", what, 1e3 * seconds);
    };
    fmt::print("a sequence of {} tokens, {} of state\n", options_.depth,
               human_bytes(static_cast<double>(snapshot.bytes.size())));
    const auto finished = [&] { session.tail(session.position(1), 1); };  // waits for the devices
    const size_t before = process_memory();
    row("fork to an empty slot", seconds_of([&] { session.fork(0, 1), finished(); }));
    const double grown = static_cast<double>(process_memory()) - static_cast<double>(before);
    fmt::print("{:<44} {:10.2f} % of the state\n", "memory that it takes",
               1e2 * grown / static_cast<double>(snapshot.bytes.size()));
    row("fork to a slot that held as much", repeated_value([&] {
          session.restore(snapshot, 1);  // shares nothing with the other then
          return seconds_of([&] { session.fork(0, 1), finished(); });
        }));
    row("snapshot", repeated([&] { snapshot = session.snapshot(); }));
    row("restore", repeated([&] { session.restore(snapshot, 1), finished(); }));
    row("checkpoint", repeated([&] { session.checkpoint(); }));
    session.feed(ids(40));
    row("truncate to it", seconds_of([&] { session.truncate(options_.depth), session.tail(options_.depth); }));
    session.feed(ids(1));
    row("rewind by a token", seconds_of([&] { session.rewind(1); }));
  }

  // The first token of a prompt that was read before, over that of one that was not.
  void prefix() {
    if (options_.prefix == 0) return;
    const auto model = open(options_.prefix + 64, 1);
    Session session(model);
    PrefixCache cache({.memory = size_t{8} << 30, .folder = {}}, session);
    Scheduler scheduler(session, &cache);
    const auto first_token = [&](const std::vector<int32_t>& prompt) {
      scheduler.submit({.prompt = prompt, .options = {.max_tokens = 1, .end_tokens = {}}});
      return seconds_of([&] {
        while (scheduler.step()) {
        }
      });
    };
    std::vector<double> cold, warm;
    for (int i = 0; i < options_.repetitions; ++i) {
      const std::vector<int32_t> prompt = ids(static_cast<size_t>(options_.prefix));
      cold.push_back(first_token(prompt));
      warm.push_back(first_token(prompt));
    }
    fmt::print("first token after {} tokens: {:.1f} ms, {:.2f} ms when they were kept: {:.3f}\n", options_.prefix,
               1e3 * median(cold), 1e3 * median(warm), median(warm) / median(cold));
  }

  // Tokens per second of several requests that decode together, over one, through the scheduler.
  void together() {
    if (options_.sequences == 0) return;
    const auto model = open(512 + options_.decode, options_.sequences);
    Session session(model);
    const auto rate = [&](int n) {
      Scheduler scheduler(session);
      int64_t tokens = 0;
      size_t reading = static_cast<size_t>(n);
      for (int i = 0; i < n; ++i) {
        Request request{.prompt = ids(512), .options = {.max_tokens = options_.decode, .end_tokens = {}}};
        request.sampler = {.temperature = 1, .seed = static_cast<uint64_t>(i)};
        request.on_token = [&, first = true](int32_t, std::span<const TokenLogprob>) mutable {
          if (std::exchange(first, false)) --reading;
          return ++tokens, true;
        };
        scheduler.submit(std::move(request));
      }
      while (reading > 0) scheduler.step();
      const int64_t before = tokens;
      const double seconds = seconds_of([&] {
        while (scheduler.step()) {
        }
      });
      return static_cast<double>(tokens - before) / seconds;
    };
    std::vector<double> one, all, ratio;
    rate(1);
    for (int i = 0; i < options_.repetitions; ++i) {
      one.push_back(rate(1));
      all.push_back(rate(options_.sequences));
      ratio.push_back(all.back() / one.back());
    }
    fmt::print("{} sequences decoded together: {:.1f} tokens/s, one alone {:.1f}: {:.2f} times\n", options_.sequences,
               median(all), median(one), median(ratio));
  }

  // Requests of all lengths over a few slots, one with a very long prompt: the longest time between two tokens of one
  // that decodes, over the time of a whole chunk; and whether each is answered as it is alone.
  void mixed() {
    if (options_.requests == 0) return;
    const auto model = open(options_.long_prompt + 256, options_.sequences);
    Session session(model);
    const std::vector<int32_t> long_prompt = ids(static_cast<size_t>(options_.long_prompt));
    const size_t chunk = std::min(static_cast<size_t>(model->options().chunk), long_prompt.size() / 2);
    session.feed(std::span(long_prompt).first(long_prompt.size() - chunk));
    const double chunk_seconds = seconds_of([&] { session.feed(std::span(long_prompt).last(chunk)); });
    Scheduler scheduler(session);
    double longest = 0;
    std::vector<Request> requests;
    std::vector<std::vector<int32_t>> answers(static_cast<size_t>(options_.requests));
    for (int i = 0; i < options_.requests; ++i) {
      Request request{.prompt = i == 3 ? long_prompt : ids(1 + random_() % 1000),
                      .options = {.max_tokens = static_cast<int64_t>(8 + random_() % 120), .end_tokens = {}}};
      requests.push_back(request);
      request.on_token = [&longest, &answer = answers[static_cast<size_t>(i)], last = Clock::time_point{}](
                             int32_t id, std::span<const TokenLogprob>) mutable {
        answer.push_back(id);
        const auto now = Clock::now();
        if (last != Clock::time_point{}) longest = std::max(longest, std::chrono::duration<double>(now - last).count());
        last = now;
        return true;
      };
      scheduler.submit(std::move(request));
    }
    const double all = seconds_of([&] {
      while (scheduler.step()) {
      }
    });
    fmt::print(
        "{} requests over {} slots, one of {} tokens: {:.1f} s; a token came {:.0f} ms after the one before it at "
        "the latest, a chunk at that depth takes {:.0f} ms: {:.2f}\n",
        options_.requests, options_.sequences, options_.long_prompt, all, 1e3 * longest, 1e3 * chunk_seconds,
        longest / chunk_seconds);
    const auto differ = std::ranges::count_if(requests, [&](const Request& request) {
      std::vector<int32_t> alone;
      Sampler sampler(request.sampler, vocab_);
      session.reset();
      generate(session, request.prompt, request.options, sampler,
               [&](int32_t id) { return alone.push_back(id), true; });
      return alone != answers[static_cast<size_t>(&request - requests.data())];
    });
    fmt::print("answered otherwise than alone: {}\n", differ);
  }

  // Microseconds of a token through the scheduler, and of each kind of op in it, at several depths. Sequences come
  // there by the beginnings that are kept, as after a prompt that was read before.
  void deep() {
    std::map<std::string, std::vector<double>> rows;
    for (size_t i = 0; i < options_.deep.size(); ++i) {
      const int64_t depth = options_.deep[i];
      const auto model = open(depth + 1 + options_.decode, 1);
      Session session(model);
      fill_synthetic_state(session, depth);
      std::vector<int32_t> prompt = ids(static_cast<size_t>(depth));
      PrefixCache cache({.memory = size_t{8} << 30, .folder = {}}, session);
      cache.store(session, 0, prompt);
      prompt.push_back(0);
      const auto row = [&](const std::string& what) -> double& {
        auto& figures = rows[what];
        figures.resize(options_.deep.size());
        return figures[i];
      };
      const auto seconds_per_token = [&] {
        Scheduler scheduler(session, &cache);
        double seconds = 0;
        scheduler.submit({.prompt = prompt,
                          .options = {.max_tokens = options_.decode, .end_tokens = {}},
                          .sampler = {},
                          .cache_space = {},
                          .on_token = {},
                          .on_done = [&](const GenerateResult& result, const std::exception_ptr&) {
                            check(result.cached_tokens == depth, Code::kInternal, "{} tokens were kept, not {}",
                                  result.cached_tokens, depth);
                            seconds = result.decode_seconds / static_cast<double>(result.tokens);
                          }});
        while (scheduler.step()) {
        }
        return seconds;
      };
      seconds_per_token();
      row(" a token") = 1e6 * repeated_value(seconds_per_token);
      session.on_step_times([&](const Plan& plan, const Step& step, std::span<const double> seconds) {
        if (step.n_rows() != 1) return;
        const std::vector<ExplainRow> steps = explain(plan, step);
        for (size_t s = 0; s < steps.size(); ++s)
          row(steps[s].op.substr(0, steps[s].op.find('{'))) +=
              1e6 * seconds[s] / static_cast<double>(options_.decode + 1);
      });
      seconds_per_token();
    }
    for (const auto& [what, figures] : rows) {
      fmt::print("{:<20}", what);
      for (const double figure : figures) fmt::print(" {:10.1f} us", figure);
      fmt::print("  {:6.2f}\n", figures.back() / figures.front());
    }
  }

  const Options options_;
  const std::shared_ptr<const WeightSource> weights_;
  const int64_t vocab_;
  std::mt19937_64 random_{1};
};

}  // namespace
}  // namespace v4rt

int main(int argc, char** argv) try {
  v4rt::Options o;
  CLI::App app("Times of what is done to whole sequences.");
  app.add_option("MODEL", o.model, "A checkpoint: a folder or a .safetensors file")->required();
  app.add_option("--device", o.device)->capture_default_str();
  app.add_option("--depth", o.depth, "Tokens of the sequence that is copied; 0: none")->capture_default_str();
  app.add_option("--prefix", o.prefix, "Tokens of the prompt that is kept; 0: none")->capture_default_str();
  app.add_option("--sequences", o.sequences, "Decoded together; 0: none")->capture_default_str();
  app.add_option("--decode", o.decode, "Tokens that each of them decodes")->capture_default_str();
  app.add_option("--requests", o.requests, "Of mixed lengths; 0: none")->capture_default_str();
  app.add_option("--long-prompt", o.long_prompt, "Tokens of the longest of them")->capture_default_str();
  app.add_option("--deep", o.deep, "Depths at which a sequence decodes, and what each op takes")->delimiter(',');
  app.add_option("-r,--repetitions", o.repetitions)->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  v4rt::Bench(o).run();
} catch (const std::exception& error) {
  std::fputs(error.what(), stderr);
  std::fputc('\n', stderr);
  return 1;
}
