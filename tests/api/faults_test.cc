// Whatever fails, at its n-th call, while a program opens a model and generates: no crash and no leak, a status that
// says it, and the same call works when it is made again, with the same results in the end. faults_test MODEL DEVICE
// KIND RUNS: that many n's, spread over all calls of the kind (allocation, file, thread, opencl); 0: every n; "places":
// the first, the middle and the last n of each place, which is the function that calls and all those that it was called
// by; "=N": that one. Of OpenCL two kinds more, whose calls go on failing from the n-th on, while the model must work
// on another device: those of one name (clBuildProgram), and "lost": all of them. The runs are made by processes side
// by side; for one that crashes, which is a problem, another takes over.

#include "tests/api/faults.h"

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <v4rt.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <new>
#include <set>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "tests/api/faults_program.h"

namespace {

using faults::Kind;
using faults::Outcome;

// What the processes share.
struct Shared {
  static constexpr size_t kMost = size_t{1} << 20;
  std::atomic<int64_t> total{0}, count{0}, next{0};  // calls of a run, numbers to try, the one that is tried next
  std::atomic<int> problems{0}, runs{0}, refused{0};
  std::atomic<int64_t> at[64];
  int64_t numbers[kMost];
  uint64_t places[kMost];
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

class Walk {
 public:
  Walk(char** argv, Shared& shared)
      : path_(argv[1]), device_(argv[2]), kind_name_(argv[3]), which_(argv[4]), s_(shared) {
    if (kind_name_ == "allocation") kind_ = Kind::kAllocation;
    if (kind_name_ == "file") kind_ = Kind::kFile;
    if (kind_name_ == "thread") kind_ = Kind::kThread;
    goes_on_ = kind_ == Kind::kOpencl && kind_name_ != "opencl";
  }

  // Counts the calls of a run, and chooses those that fail.
  void choose() {
    const std::span places(s_.places);
    program(device_);
    which_ == "places" ? faults::arm_to_note(kind_, places) : arm(0);
    program(device_);
    s_.total = faults::disarm();
    const auto total = static_cast<size_t>(s_.total);
    std::vector<int64_t> numbers;
    if (which_ == "places")
      numbers = of_each(places.first(std::min(total, places.size())));
    else if (which_.starts_with('='))
      numbers.push_back(std::atoll(which_.c_str() + 1));
    else
      numbers = spread(s_.total, std::atoll(which_.c_str()));
    numbers.resize(std::min(numbers.size(), Shared::kMost));
    std::ranges::copy(numbers, s_.numbers);
    s_.count = std::ssize(numbers);
  }

  // Takes numbers until none is left; `at`: the place of the one that is tried now.
  void work(std::atomic<int64_t>& at) {
    program(device_);  // what is made once and kept
    good_ = program(device_);
    if (!good_.complete) return wrong("without a fault", good_.message);
    int64_t live = 0;
    for (int64_t mine = 0; (at = s_.next++) < s_.count; ++mine) {
      attempt(s_.numbers[at], name_of(at));
      if (kind_ == Kind::kOpencl) continue;              // drivers keep memory of their own
      if (mine == 3) live = faults::live_allocations();  // messages of the first failures stay
      if (mine > 3 && faults::live_allocations() > live) {
        wrong(name_of(at), std::to_string(faults::live_allocations() - live) + " allocations were left");
        live = faults::live_allocations();
      }
    }
  }

  std::string name_of(int64_t at) const {
    return kind_name_ + " " + std::to_string(s_.numbers[at]) + " of " + std::to_string(s_.total);
  }

  void wrong(const std::string& where, const std::string& what) const {
    ++s_.problems;
    std::printf("%s: %s\n", where.c_str(), what.c_str());
    std::fflush(stdout);
    faults::show_failed();
  }

 private:
  Outcome program(const char* device) const { return faults::run_program(path_, device, !goes_on_); }

  void arm(int64_t n) const {
    goes_on_ ? faults::arm_opencl_from(kind_name_ == "lost" ? "" : kind_name_.c_str(), n) : faults::arm(kind_, n);
  }

  void attempt(int64_t n, const std::string& where) {
    constexpr unsigned kSeconds = 60;
    ++s_.runs;
    alarm(kSeconds);
    arm(n);
    const Outcome out = program(device_);
    const std::string_view message = out.message;
    if (out.status != V4RT_OK) ++s_.refused;
    if (out.status == V4RT_INTERNAL || (out.status != V4RT_OK && message.empty()))
      wrong(where, std::string(v4rt_status_name(out.status)) + ": " + out.message);
    if (goes_on_) {
      if (out.status == V4RT_OK) wrong(where, "nobody noticed");
      if (message.find(device_) == message.npos) wrong(where, "the device is not named: " + std::string(message));
      if (!program("cpu").same_results(good_)) wrong(where, "not the same on the cpu");
    } else if (!out.complete || !out.same_results(good_)) {
      wrong(where, out.complete ? "other results" : "the same call failed again");
    }
    faults::disarm();
    if (const int64_t left = faults::opencl_objects.exchange(0); left != 0)
      wrong(where, std::to_string(left) + " OpenCL objects were left");
  }

  const char *path_, *device_;
  const std::string kind_name_, which_;
  Kind kind_ = Kind::kOpencl;
  bool goes_on_ = false;
  Shared& s_;
  Outcome good_;
};

template <class F>
pid_t start(F&& child) {
  std::fflush(stdout);
  const pid_t id = fork();
  if (id != 0) return id;
  for (const int signal : {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGALRM}) {
    std::signal(signal, [](int which) {
      std::printf("signal %d in\n", which);
      std::fflush(stdout);
      faults::show_callers();
      std::printf("after the fault in\n");
      std::fflush(stdout);
      faults::show_failed();
      _exit(3);
    });
  }
  child();
  std::fflush(stdout);
  _exit(0);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) return 2;
  void* const memory =
      mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return 2;
  auto& shared = *new (memory) Shared;
  v4rt_log_to([](int, const char*, void*) {}, nullptr, V4RT_LOG_ERROR);
  Walk walk(argv, shared);
  // The library is used by children alone: its threads would not come along into them.
  waitpid(start([&] { walk.choose(); }), nullptr, 0);

  std::map<pid_t, size_t> workers;
  const auto begin = [&](size_t worker) { workers[start([&] { walk.work(shared.at[worker]); })] = worker; };
  const size_t side_by_side = std::clamp<size_t>(std::thread::hardware_concurrency(), 1, std::size(shared.at));
  for (size_t worker = 0; worker < side_by_side; ++worker) begin(worker);
  int status = 0;
  for (pid_t ended = 0; (ended = wait(&status)) > 0;) {
    const size_t worker = workers.extract(ended).mapped();
    if (status == 0) continue;
    ++shared.problems;
    std::printf("%s: crashed or took too long\n", walk.name_of(shared.at[worker]).c_str());
    if (shared.runs > 0) begin(worker);
  }
  std::printf("%lld calls of kind %s, %d of them failed in turn, %d calls of the interface failed, %d problems\n",
              static_cast<long long>(shared.total), argv[3], shared.runs.load(), shared.refused.load(),
              shared.problems.load());
  return shared.problems == 0 && shared.refused > 0 ? 0 : 1;
}
