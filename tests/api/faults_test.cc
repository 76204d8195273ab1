// Whatever fails, at its n-th call, while a program opens a model and generates: no crash and no leak, a status that
// says it, and the same calls work afterwards, with the same results. faults_test MODEL DEVICE KIND RUNS: that many
// n's, spread over all calls of the kind (allocation, file, thread, opencl); 0: every n; "places": the first, the
// middle and the last n of each place, which is the function that calls and all those that it was called by. Of OpenCL
// two kinds more,
// whose calls go on failing from the n-th on, while the model must work on another device: those of one name
// (clBuildProgram), and "lost": all of them.

#include "tests/api/faults.h"

#include <unistd.h>
#include <v4rt.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <map>
#include <set>
#include <span>
#include <string>
#include <vector>

namespace {

int failures = 0;

void wrong(const std::string& what) {
  ++failures;
  std::printf("%s; last error: %s\n", what.c_str(), v4rt_last_error());
}

// What a program does, from nothing to tokens and back to nothing. Stops at the first call that fails.
struct Run {
  v4rt_status status = V4RT_OK;
  int32_t tokens[16] = {};  // nothing here allocates: the faults are the library's
  size_t count = 0;
  bool same_tokens(const Run& other) const {
    return std::equal(tokens, tokens + count, other.tokens, other.tokens + other.count);
  }
};

int keep(int32_t id, void* user) {
  auto& run = *static_cast<Run*>(user);
  run.tokens[run.count++] = id;
  return 1;
}

struct Program {
  const char* model_path;

  Run operator()(const char* device) const {
    constexpr int32_t kPrompt[] = {0, 320, 1843, 652, 844, 1218, 313, 260, 5, 17};
    Run run;
    v4rt_model_options options{};
    options.struct_size = sizeof(options);
    options.device = device;
    options.cache_dir = std::getenv("V4RT_TEST_CACHE");
    options.context = 64;
    options.chunk = 4;
    options.threads = 3;
    options.no_mmap = 1;
    v4rt_generate_options few{};
    few.struct_size = sizeof(few);
    few.max_tokens = 6;
    v4rt_model* model = nullptr;
    v4rt_tokenizer* tokenizer = nullptr;
    v4rt_session* session = nullptr;
    v4rt_snapshot* snapshot = nullptr;
    v4rt_sampler* sampler = nullptr;
    int32_t ids[16];
    size_t n = 0;
    const auto call = [&](auto function, auto... arguments) {
      if (run.status == V4RT_OK) run.status = function(arguments...);
    };
    call(v4rt_model_open, model_path, &options, &model);
    call(v4rt_tokenizer_open, model_path, &tokenizer);
    call(v4rt_tokenizer_encode, tokenizer, "The capital of", size_t{14}, 0, ids, size_t{16}, &n);
    call(v4rt_session_open, model, &session);
    call(v4rt_sampler_open, model, nullptr, &sampler);
    call(v4rt_generate, session, kPrompt, std::size(kPrompt), &few, sampler, keep, &run, nullptr);
    call(v4rt_snapshot_open, session, 0, &snapshot);
    call(v4rt_session_reset, session, 0);
    call(v4rt_session_restore, session, 0, snapshot);
    call(v4rt_generate, session, ids, n, &few, sampler, keep, &run, nullptr);
    v4rt_engine* engine = nullptr;
    v4rt_answer* answer = nullptr;
    v4rt_request request{};
    request.struct_size = sizeof(request);
    request.prompt = kPrompt;
    request.n_prompt = std::size(kPrompt);
    request.tokenizer = tokenizer;
    request.max_tokens = 3;
    v4rt_event event{};
    event.struct_size = sizeof(event);
    call(v4rt_engine_open, model, nullptr, &engine);
    call(v4rt_answer_open, engine, &request, &answer);
    while (run.status == V4RT_OK && event.kind != V4RT_EVENT_END) {
      call(v4rt_answer_next, answer, -1.0, &event);
      if (run.status == V4RT_OK && event.kind == V4RT_EVENT_TOKEN) keep(event.token, &run);
    }
    v4rt_answer_close(answer);
    v4rt_engine_close(engine);
    v4rt_sampler_close(sampler);
    v4rt_snapshot_close(snapshot);
    v4rt_session_close(session);
    v4rt_tokenizer_close(tokenizer);
    v4rt_model_close(model);
    return run;
  }
};

// Up to `count` numbers in [1, total]: the first ones, where everything is made for the first time, and then spread.
std::vector<int64_t> spread(int64_t total, int64_t count) {
  std::vector<int64_t> numbers;
  if (count == 0 || count >= total) count = total;
  for (int64_t i = 0; i < count; ++i) {
    const double share = static_cast<double>(i) / static_cast<double>(count);
    numbers.push_back(std::max(i + 1, static_cast<int64_t>(share * static_cast<double>(total)) + 1));
  }
  return numbers;
}

std::vector<int64_t> of_each(std::span<const uint64_t> places) {
  std::map<uint64_t, std::vector<int64_t>> all;
  for (size_t i = 0; i < places.size(); ++i) all[places[i]].push_back(static_cast<int64_t>(i) + 1);
  std::set<int64_t> numbers;
  for (const auto& [place, at] : all) numbers.insert({at.front(), at[at.size() / 2], at.back()});
  return {numbers.begin(), numbers.end()};
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) return 2;
  const Program program{argv[1]};
  const char* const device = argv[2];
  const std::string kind_name = argv[3];
  const faults::Kind kind = kind_name == "allocation" ? faults::Kind::kAllocation
                            : kind_name == "file"     ? faults::Kind::kFile
                            : kind_name == "thread"   ? faults::Kind::kThread
                                                      : faults::Kind::kOpencl;
  const bool goes_on = kind == faults::Kind::kOpencl && kind_name != "opencl";
  const std::string call = kind_name == "lost" ? "" : kind_name;
  const auto arm = [&](int64_t n) { goes_on ? faults::arm_opencl_from(call.c_str(), n) : faults::arm(kind, n); };
  v4rt_log_to([](int, const char*, void*) {}, nullptr, V4RT_LOG_ERROR);
  program(device);  // what is made once and kept
  arm(0);
  const Run good = program(device);
  const int64_t total = faults::disarm();
  if (good.status != V4RT_OK || good.count < 6 || total == 0) {
    wrong("nothing to compare with");
    return 1;
  }

  std::vector<int64_t> numbers;
  if (std::strcmp(argv[4], "places") == 0) {
    std::vector<uint64_t> places(static_cast<size_t>(2 * total));  // more than there will be
    faults::arm_to_note(kind, places);
    program(device);
    numbers = of_each(std::span(places).first(static_cast<size_t>(faults::disarm())));
  } else {
    numbers = spread(total, std::atoll(argv[4]));
  }

  int64_t live = 0;
  int refused = 0, runs = 0;
  for (const int64_t n : numbers) {
    ++runs;
    arm(n);
    const Run run = program(device);
    const std::string where = kind_name + " " + std::to_string(n) + " of " + std::to_string(total);
    if (run.status != V4RT_OK) {
      ++refused;
      if (run.status == V4RT_INTERNAL || std::strlen(v4rt_last_error()) == 0)
        wrong(where + ": " + v4rt_status_name(run.status));
      if (goes_on && std::strstr(v4rt_last_error(), device) == nullptr) wrong(where + ": the device is not named");
    } else if (goes_on) {
      wrong(where + ": nobody noticed");
    } else if (!run.same_tokens(good)) {
      wrong(where + ": other tokens");
    }
    if (goes_on) {
      const Run elsewhere = program("cpu");
      if (elsewhere.status != V4RT_OK || !elsewhere.same_tokens(good)) wrong(where + ": not the same on the cpu");
    }
    faults::disarm();
    if (faults::opencl_objects != 0) {
      wrong(where + ": " + std::to_string(faults::opencl_objects) + " OpenCL objects were left");
      faults::opencl_objects = 0;
    }
    if (kind == faults::Kind::kOpencl) continue;       // drivers keep memory of their own
    if (runs == 4) live = faults::live_allocations();  // messages of the first failures stay
    if (runs > 4 && faults::live_allocations() > live) {
      wrong(where + ": " + std::to_string(faults::live_allocations() - live) + " were left");
      live = faults::live_allocations();
    }
  }
  const Run after = program(device);
  if (after.status != V4RT_OK || !after.same_tokens(good)) wrong("afterwards: not the same tokens");
  std::printf("%lld calls of kind %s, %d of them failed in turn, %d runs were refused, %d problems\n",
              static_cast<long long>(total), argv[3], runs, refused, failures);
  return failures == 0 && refused > 0 ? 0 : 1;
}
