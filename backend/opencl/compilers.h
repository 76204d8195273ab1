#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "backend/opencl/capabilities.h"
#include "backend/opencl/program_build.h"

namespace v4rt {

class Child;

// Processes that compile programs for one device, several at once, and launch them for the first time: a driver may let
// only one thread of a process compile at a time (PoCL), and one that crashes takes none of ours with it. They start
// when they are asked, and end when nobody has asked for a while, and with finish().
class Compilers {
 public:
  // `command` starts a process that calls serve() with its standard input.
  Compilers(std::vector<std::string> command, std::string device_name);
  ~Compilers();
  Compilers(const Compilers&) = delete;
  Compilers& operator=(const Compilers&) = delete;

  // Processes that run already, have greeted and wait to be asked: the first that are asked.
  void employ(std::vector<std::unique_ptr<Child>> processes);

  // What came of it. Without an answer and a problem nobody could be asked: it is to be done here.
  struct Result {
    std::vector<std::byte> answer;  // the binary of a program; of a launch, something
    std::string problem;            // why it cannot be done
    bool crashed = false;           // the driver ended the process over it
  };
  // `keep` is called with what comes, on a thread of its own, as soon as it is there.
  std::shared_future<Result> compile(const ProgramText& program, std::function<void(const Result&)> keep = {});
  // Kernel `name` of the program, whose binary may be empty; `launch`: FirstLaunch::text.
  std::shared_future<Result> launch(const ProgramText& program, const std::vector<std::byte>& binary,
                                    const std::string& name, std::string launch);
  void finish();  // ends the processes, also those that compile; what they were asked for is to be built here

 private:
  struct Order {
    std::vector<std::string> texts;  // what is asked for, then name, source and options of a program
    const std::string& source() const { return texts[2]; }
    std::function<void(const Result&)> keep;
    std::promise<Result> result;
  };
  std::shared_future<Result> ask(std::vector<std::string> texts, std::function<void(const Result&)> keep);
  void hire();
  std::optional<Order> next(std::unique_lock<std::mutex>& lock, std::unique_ptr<Child>& process);
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

// Answers of such a process.
std::string answer_of(std::string_view bytes);
std::string problem_of(std::string_view message);
std::string compiled(cl_context context, cl_device_id device, const ProgramText& text, const std::string& device_name);

}  // namespace v4rt
