#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "backend/opencl/capabilities.h"
#include "backend/opencl/program_build.h"

namespace v4rt {

class Child;

// Processes that compile programs for one device, several at once: a driver may let only one thread of a process
// compile at a time (PoCL), and one that crashes takes none of ours with it. They start with the first program and end
// with finish().
class Compilers {
 public:
  // `command` starts a process that calls serve() with its standard input.
  Compilers(std::vector<std::string> command, std::string device_name);
  ~Compilers();
  Compilers(const Compilers&) = delete;
  Compilers& operator=(const Compilers&) = delete;

  // Processes that run already, have greeted and wait to be asked: the first that are asked.
  void employ(std::vector<std::unique_ptr<Child>> processes);

  // What came of a program. Without a binary and a problem nobody could be asked: it is to be built here.
  struct Result {
    std::vector<std::byte> binary;
    std::string problem;   // why it cannot be compiled
    bool crashed = false;  // the driver ended the process over it
  };
  // `keep` is called with what comes, on a thread of its own, as soon as it is there.
  std::shared_future<Result> compile(ProgramText program, std::function<void(const Result&)> keep = {});
  void finish();  // ends the processes, also those that compile; what they were asked for is to be built here

 private:
  struct Order {
    ProgramText program;
    std::function<void(const Result&)> keep;
    std::promise<Result> result;
  };
  void hire();
  std::optional<Order> next(std::unique_lock<std::mutex>& lock);
  void work();

  const std::vector<std::string> command_;
  const std::string device_name_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Order> orders_;
  size_t idle_ = 0;  // threads that wait for orders
  bool ending_ = false;
  std::vector<std::unique_ptr<Child>> waiting_;  // employ()'s, which were not asked yet
  std::vector<Child*> processes_;
  std::vector<std::thread> threads_;  // a process each
};

// The answer of such a process.
std::string compiled(cl_context context, cl_device_id device, const ProgramText& text, const std::string& device_name);

}  // namespace v4rt
