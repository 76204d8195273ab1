#include "examples/cli/bench_measure.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <random>

#include "graph/evidence/time_model.h"
#include "graph/runtime/synthetic_state.h"

namespace v4rt::cli {
namespace {

// Random ids of the whole vocabulary, so that as many different experts as possible are chosen; the same in every run.
std::vector<int32_t> random_ids(int64_t n, int64_t vocab) {
  std::mt19937_64 random(20240607);
  std::vector<int32_t> ids(static_cast<size_t>(n));
  for (int32_t& id : ids) id = static_cast<int32_t>(random() % static_cast<uint64_t>(vocab));
  return ids;
}

Touched touched(const ExplainRow& row) { return {row.weight_bytes, row.state_bytes, row.io_bytes, row.flops}; }

// Bytes and time of a run, op by op, measured while waiting for every launch.
class Profile {
 public:
  explicit Profile(Session& session) : session_(session) {
    session_.on_step_times([this](const Plan& plan, const Step& step, std::span<const double> seconds) {
      const std::vector<ExplainRow> rows = explain(plan, step);
      for (size_t i = 0; i < rows.size(); ++i) {
        OpTime& op = ops_[cost_label(plan, i)];
        const Join* join = join_of(plan, i);
        if (join == nullptr || join->first == i) ++op.launches;
        op.seconds += seconds[i];
        op.touched += touched(rows[i]);
        if (rows[i].layer < 0) continue;
        op.layers.resize(std::max(op.layers.size(), static_cast<size_t>(rows[i].layer) + 1));
        op.layers[static_cast<size_t>(rows[i].layer)] += seconds[i];
      }
    });
  }
  ~Profile() { session_.on_step_times(nullptr); }
  Profile(const Profile&) = delete;
  Profile& operator=(const Profile&) = delete;

  const std::map<std::string, OpTime>& ops() const { return ops_; }
  Touched total() const {
    Touched sum;
    for (const auto& [label, op] : ops_) sum += op.touched;
    return sum;
  }

 private:
  Session& session_;
  std::map<std::string, OpTime> ops_;
};

// One thing to measure: `prepare` brings the session to the state in which `run` starts.
struct Task {
  Measurement result;
  std::function<void()> prepare, run;
};

class Bench {
 public:
  Bench(const std::shared_ptr<const Model>& model, const BenchPlan& plan, Device* machine,
        const std::function<void(double)>& between)
      : plan_(plan), machine_(machine), between_(between), session_(model) {
    int64_t most = plan.depth;
    for (const int64_t prompt : plan.prompts) most = std::max(most, prompt);
    ids_ = random_ids(most, model->config().vocab_size);
    for (const int64_t prompt : plan.prompts) tasks_.push_back(prefill(prompt));
    if (plan.decode_tokens > 0) tasks_.push_back(decode(1));
    if (plan.decode_tokens > 0 && plan.together > 1) tasks_.push_back(decode(plan.together));
    if (plan.decode_tokens > 0 && model->options().draft > 0) tasks_.push_back(drafts(model->options().draft));
    runs_ =
        static_cast<double>(tasks_.size()) * ((plan.trace != nullptr ? 2 : 1) + plan.repetitions * (plan.ops ? 2 : 1));
  }

  std::vector<Measurement> run() {
    std::vector<Measurement> results;
    for (Task& task : tasks_) {
      warm_up(task);
      for (int i = 0; i < plan_.repetitions; ++i) {
        measure_machine(task);
        task.result.seconds.push_back(timed(task));
      }
      measure_machine(task);
      if (plan_.ops) profile(task);
      if (plan_.trace != nullptr) traced(task);
      results.push_back(std::move(task.result));
    }
    return results;
  }

 private:
  std::span<const int32_t> ids(int64_t first, int64_t n) const {
    return std::span(ids_).subspan(static_cast<size_t>(first), static_cast<size_t>(n));
  }

  Task prefill(int64_t tokens) {
    Task task;
    task.result = {.kind = "prefill", .tokens = tokens};
    task.prepare = [this] { session_.reset(); };
    task.run = [this, tokens] { session_.feed(ids(0, tokens)); };
    return task;
  }

  // Several sequences are of one state; they part with their next tokens, and choose experts of their own.
  Task decode(int sequences) {
    Task task;
    task.result = {.kind = "decode",
                   .tokens = plan_.decode_tokens * sequences,
                   .depth = plan_.depth,
                   .sequences = sequences,
                   .synthetic = plan_.synthetic};
    task.prepare = [this, sequences] { go_to_depth(sequences); };
    task.run = [this, items = std::vector<BatchItem>(static_cast<size_t>(sequences)),
                next = random_ids(task.result.tokens, session_.model().config().vocab_size)]() mutable {
      for (size_t at = 0; at < next.size(); at += items.size()) {
        for (size_t i = 0; i < items.size(); ++i) items[i] = {static_cast<int>(i), std::span(next).subspan(at + i, 1)};
        session_.feed_batch(items);
      }
    };
    return task;
  }

  // Random weights guess nothing right, so chance decides, the same in every run, until a guess is wrong.
  Task drafts(int draft) {
    std::minstd_rand random(1);
    std::vector<int> right;  // guesses, of each step
    Task task;
    task.result = {
        .kind = "decode", .depth = plan_.depth, .draft = draft, .accept = plan_.accept, .synthetic = plan_.synthetic};
    while (task.result.tokens < plan_.decode_tokens) {
      right.push_back(0);
      while (right.back() < draft && std::uniform_real_distribution<>()(random) < plan_.accept) ++right.back();
      task.result.tokens += 1 + right.back();
    }
    task.prepare = [this] { go_to_depth(1); };
    task.run = [this, draft, right, next = random_ids(1, session_.model().config().vocab_size)] {
      std::vector<int32_t> fed;
      for (const int n : right) {
        const Session::DraftItem item{0, next.front()};
        const auto guesses = session_.draft({&item, 1}, draft);
        fed.assign(1, next.front());
        fed.insert(fed.end(), guesses.begin(), guesses.end());
        for (int32_t& id : fed) id = std::max(id, 0);  // the first step after a restored state has no guesses
        const BatchItem step{0, fed};
        session_.feed_batch({&step, 1}, LogitsOf::kAllRows);
        session_.rewind(draft - n);
      }
    };
    return task;
  }

  // Computed once, then restored from a snapshot.
  void go_to_depth(int sequences) {
    if (at_depth_.bytes.empty()) {
      session_.reset();
      if (plan_.synthetic) {
        fill_synthetic_state(session_, plan_.depth);
      } else if (plan_.depth > 0) {
        session_.feed(ids(0, plan_.depth));
      }
      at_depth_ = session_.snapshot();
    }
    for (int slot = 0; slot < sequences; ++slot) session_.restore(at_depth_, slot);
  }

  void measure_machine(Task& task) {
    if (machine_ != nullptr) task.result.machine.push_back(machine_->measure_speed());
  }

  double timed(Task& task) {
    begin(task);
    const auto start = std::chrono::steady_clock::now();
    task.run();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }

  void warm_up(Task& task) {
    begin(task);
    const Profile profile(session_);
    task.run();
    task.result.touched = profile.total();
  }

  void profile(Task& task) {
    std::vector<std::map<std::string, OpTime>> runs;
    for (int i = 0; i < plan_.repetitions; ++i) {
      begin(task);
      const Profile profile(session_);
      task.run();
      runs.push_back(profile.ops());
    }
    for (const auto& [label, op] : runs.back()) {
      OpTime result = op;
      result.op = label;
      const auto median_of = [&](auto&& seconds) {
        std::vector<double> values;
        for (const auto& run : runs) values.push_back(seconds(run.at(result.op)));
        return median(std::move(values));
      };
      result.seconds = median_of([](const OpTime& time) { return time.seconds; });
      for (size_t layer = 0; layer < op.layers.size(); ++layer)
        result.layers[layer] = median_of([layer](const OpTime& time) { return time.layers[layer]; });
      task.result.ops.push_back(std::move(result));
    }
    std::sort(task.result.ops.begin(), task.result.ops.end(),
              [](const OpTime& a, const OpTime& b) { return a.seconds > b.seconds; });
  }

  void traced(Task& task) {
    begin(task);
    const auto start = Trace::Clock::now();
    plan_.trace->watch(session_);
    task.run();
    session_.on_step_times(nullptr);
    plan_.trace->add(task.result.kind, "runs", start, Trace::Clock::now());
  }

  void begin(Task& task) {
    between_(runs_done_++ / runs_);
    task.prepare();
  }

  const BenchPlan& plan_;
  Device* const machine_;
  const std::function<void(double)>& between_;
  Session session_;
  std::vector<int32_t> ids_;
  std::vector<Task> tasks_;
  Snapshot at_depth_;
  double runs_ = 0, runs_done_ = 0;
};

}  // namespace

Touched& Touched::operator+=(const Touched& other) {
  weight_bytes += other.weight_bytes;
  state_bytes += other.state_bytes;
  io_bytes += other.io_bytes;
  flops += other.flops;
  return *this;
}

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

DeviceSpeed median(const std::vector<DeviceSpeed>& speeds) {
  const auto of = [&](double DeviceSpeed::*figure) {
    std::vector<double> figures;
    figures.reserve(speeds.size());
    for (const DeviceSpeed& speed : speeds) figures.push_back(speed.*figure);
    return median(figures);
  };
  DeviceSpeed speed = speeds.front();
  speed.read_gbs = of(&DeviceSpeed::read_gbs);
  speed.f32_gflops = of(&DeviceSpeed::f32_gflops);
  speed.bf16_gflops = of(&DeviceSpeed::bf16_gflops);
  speed.matrix_gflops = of(&DeviceSpeed::matrix_gflops);
  return speed;
}

std::vector<double> Measurement::tokens_per_s() const {
  std::vector<double> rates;
  for (const double s : seconds) rates.push_back(static_cast<double>(tokens) / s);
  return rates;
}

double Measurement::median_seconds() const { return median(seconds); }

double Measurement::share_of(double DeviceSpeed::*limit, double giga_per_run) const {
  std::vector<double> shares;
  for (size_t i = 0; i + 1 < machine.size(); ++i) {
    const double around = (machine[i].*limit + machine[i + 1].*limit) / 2;
    shares.push_back(around > 0 ? giga_per_run / seconds[i] / around : 0);
  }
  return median(shares);
}

std::vector<Measurement> measure(const std::shared_ptr<const Model>& model, const BenchPlan& plan, Device* machine,
                                 const std::function<void(double done)>& between) {
  return Bench(model, plan, machine, between).run();
}

}  // namespace v4rt::cli
