#include "backend/opencl/compilers.h"

#include <algorithm>
#include <chrono>
#include <optional>
#include <span>
#include <string_view>
#include <system_error>
#include <utility>

#include "backend/opencl/child.h"
#include "ops/core/log.h"

namespace v4rt {
namespace {

constexpr char kAnswer = 'a', kProblem = 'p';  // how what they say begins
constexpr std::chrono::seconds kIdle{2};       // after which a process ends that nobody asks

Compilers::Result result_of(std::string_view answer) {
  if (!answer.starts_with(kAnswer)) return {.problem = std::string(answer.substr(1))};
  const auto bytes = std::as_bytes(std::span(answer.substr(1)));
  return {.answer = {bytes.begin(), bytes.end()}};
}

}  // namespace

Compilers::Compilers(std::vector<std::string> command, std::string device_name)
    : command_(std::move(command)), device_name_(std::move(device_name)) {}

Compilers::~Compilers() { finish(); }

std::shared_future<Compilers::Result> Compilers::compile(const ProgramText& program,
                                                         std::function<void(const Result&)> keep) {
  return ask({std::string(kCompile), program.what, program.source, program.options}, std::move(keep));
}

std::shared_future<Compilers::Result> Compilers::launch(const ProgramText& program,
                                                        const std::vector<std::byte>& binary, const std::string& name,
                                                        std::string launch) {
  return ask({std::string(kLaunch), program.what, program.source, program.options,
              std::string(reinterpret_cast<const char*>(binary.data()), binary.size()), name, std::move(launch)},
             {});
}

std::shared_future<Compilers::Result> Compilers::ask(std::vector<std::string> texts,
                                                     std::function<void(const Result&)> keep) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return !ending_; });
  Order& order = orders_.emplace_back(Order{std::move(texts), std::move(keep), {}});
  std::shared_future<Result> result = order.result.get_future().share();
  if (orders_.size() > idle_) hire();
  if (threads_.empty()) {
    order.result.set_value({});
    orders_.pop_back();
  }
  changed_.notify_one();
  return result;
}

void Compilers::employ(std::vector<std::unique_ptr<Child>> processes) {
  const std::lock_guard lock(mutex_);
  waiting_ = std::move(processes);
}

void Compilers::finish() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return !ending_; });
  ending_ = true;
  for (Order& order : orders_) order.result.set_value({});
  orders_.clear();
  waiting_.clear();
  for (Child* process : processes_) process->hang_up();
  lock.unlock();
  changed_.notify_all();
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
  lock.lock();
  ending_ = false;
  lock.unlock();
  changed_.notify_all();
}

void Compilers::hire() {
  constexpr unsigned kMost = 8;
  if (threads_.size() >= std::clamp(std::thread::hardware_concurrency(), 1u, kMost)) return;
  try {
    threads_.emplace_back([this] { work(); });
  } catch (const std::system_error& error) {
    log::debug("{}: no thread for a compiler: {}", device_name_, error.what());
  }
}

// Empty: it is over.
std::optional<Compilers::Order> Compilers::next(std::unique_lock<std::mutex>& lock, std::unique_ptr<Child>& process) {
  const auto wanted = [this] { return ending_ || !orders_.empty(); };
  ++idle_;
  if (process != nullptr && !changed_.wait_for(lock, kIdle, wanted)) {
    std::erase(processes_, process.get());
    process.reset();
  }
  changed_.wait(lock, wanted);
  --idle_;
  if (ending_) return {};
  // The longest first, so that not all wait for one in the end.
  const auto longest = std::ranges::max_element(orders_, {}, [](const Order& one) { return one.source().size(); });
  Order order = std::move(*longest);
  orders_.erase(longest);
  return order;
}

void Compilers::work() {
  std::unique_ptr<Child> process;
  bool usable = true;  // until a process has not found its device
  std::unique_lock lock(mutex_);
  while (std::optional<Order> order = next(lock, process)) {
    bool is_new = false;
    if (usable && process == nullptr) {
      is_new = waiting_.empty();
      if (is_new) {
        process = std::make_unique<Child>(command_);
      } else {
        process = std::move(waiting_.back());
        waiting_.pop_back();
      }
      processes_.push_back(process.get());
    }
    lock.unlock();
    usable = usable && (!is_new || process->greets());
    const bool asked =
        usable && std::ranges::all_of(order->texts, [&](const std::string& text) { return process->say({text}); });
    const std::optional<std::string> answer = asked ? process->hear() : std::nullopt;
    lock.lock();
    if (!answer) std::erase(processes_, process.get());
    if (ending_) {
      order->result.set_value({});
      break;
    }
    lock.unlock();
    const Result result = answer   ? result_of(*answer)
                          : usable ? Result{.problem = process->end(), .crashed = true}
                                   : Result{};
    if (!answer) process.reset();
    if (order->keep) order->keep(result);
    order->result.set_value(result);
    lock.lock();
  }
  std::erase(processes_, process.get());
  lock.unlock();  // the process is waited for
}

std::string answer_of(std::string_view bytes) { return kAnswer + std::string(bytes); }
std::string problem_of(std::string_view message) { return kProblem + std::string(message); }

std::string compiled(cl_context context, cl_device_id device, const ProgramText& text, const std::string& device_name) {
  try {
    const cl::Program program = build_program(context, device, text, device_name);
    const std::vector<std::byte> binary = binary_of(program.get());
    return answer_of({reinterpret_cast<const char*>(binary.data()), binary.size()});
  } catch (const Error& error) {
    return problem_of(error.what());
  }
}

}  // namespace v4rt
