#include "backend/opencl/compilers.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <optional>
#include <span>
#include <string_view>
#include <system_error>
#include <utility>

#include "ops/core/log.h"

namespace v4rt {
namespace {

constexpr uint64_t kMostBytes = uint64_t{1} << 30;  // of one message

// Messages are texts behind their length. False: the other side is gone.
bool send_bytes(int socket, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
  return true;
}

bool send_text(int socket, std::string_view text) {
  const uint64_t size = text.size();
  return send_bytes(socket, {reinterpret_cast<const char*>(&size), sizeof(size)}) && send_bytes(socket, text);
}

bool receive_bytes(int socket, std::span<char> bytes) {
  while (!bytes.empty()) {
    const ssize_t got = ::recv(socket, bytes.data(), bytes.size(), 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    bytes = bytes.subspan(static_cast<size_t>(got));
  }
  return true;
}

std::optional<std::string> receive_text(int socket) {
  uint64_t size = 0;
  if (!receive_bytes(socket, {reinterpret_cast<char*>(&size), sizeof(size)}) || size > kMostBytes) return {};
  std::string text(size, '\0');
  if (!receive_bytes(socket, text)) return {};
  return text;
}

constexpr std::string_view kGreeting = "v4rt";
constexpr char kBinary = 'b', kProblem = 'p';  // how an answer begins

Compilers::Result result_of(std::string_view answer) {
  if (!answer.starts_with(kBinary)) return {.problem = std::string(answer.substr(1))};
  const auto bytes = std::as_bytes(std::span(answer.substr(1)));
  return {.binary = {bytes.begin(), bytes.end()}};
}

Compilers::Result crash(int status) {
  return {.problem = WIFSIGNALED(status) ? fmt::format("signal {}, {}", WTERMSIG(status), strsignal(WTERMSIG(status)))
                                         : fmt::format("exit status {}", WEXITSTATUS(status)),
          .crashed = true};
}

}  // namespace

// A process that serves, its standard input being our socket. What drivers print goes nowhere.
class Process {
 public:
  explicit Process(const std::vector<std::string>& command) {
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) return;
    socket_ = ends[0];
    std::vector<char*> arguments;
    for (const std::string& argument : command) arguments.push_back(const_cast<char*>(argument.c_str()));
    arguments.push_back(nullptr);
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    ::posix_spawn_file_actions_init(&files);
    ::posix_spawnattr_init(&attributes);
    ::posix_spawn_file_actions_adddup2(&files, ends[1], STDIN_FILENO);
    for (const int printed : {STDOUT_FILENO, STDERR_FILENO})
      ::posix_spawn_file_actions_addopen(&files, printed, "/dev/null", O_WRONLY, 0);
    // In a group of its own: Ctrl-C is for us, and we end it.
    ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
    if (::posix_spawn(&process_, command[0].c_str(), &files, &attributes, arguments.data(), environ) != 0) process_ = 0;
    ::posix_spawnattr_destroy(&attributes);
    ::posix_spawn_file_actions_destroy(&files);
    ::close(ends[1]);
  }
  ~Process() {
    if (process_ > 0) ::kill(process_, SIGKILL);
    status();
    if (socket_ >= 0) ::close(socket_);
  }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  // Greeted once, it has found its device.
  bool greets() { return process_ > 0 && receive_text(socket_) == kGreeting; }
  // nullopt: it is gone, or was hung up on.
  std::optional<std::string> answer(const ProgramText& program) {
    for (const std::string* text : {&program.what, &program.source, &program.options})
      if (!send_text(socket_, *text)) return {};
    return receive_text(socket_);
  }
  void hang_up() { ::shutdown(socket_, SHUT_RDWR); }
  int status() {  // of its end, for which it waits
    int status = 0;
    while (process_ > 0 && ::waitpid(process_, &status, 0) < 0 && errno == EINTR) {
    }
    process_ = 0;
    return status;
  }

 private:
  pid_t process_ = 0;
  int socket_ = -1;
};

Compilers::Compilers(std::vector<std::string> command, std::string device_name)
    : command_(std::move(command)), device_name_(std::move(device_name)) {}

Compilers::~Compilers() { finish(); }

std::shared_future<Compilers::Result> Compilers::compile(ProgramText program, std::function<void(const Result&)> keep) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return !ending_; });
  Order& order = orders_.emplace_back(Order{std::move(program), std::move(keep), {}});
  std::shared_future<Result> result = order.result.get_future().share();
  if (orders_.size() > idle_) hire();
  if (threads_.empty()) {
    order.result.set_value({});
    orders_.pop_back();
  }
  changed_.notify_one();
  return result;
}

void Compilers::finish() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return !ending_; });
  ending_ = true;
  for (Order& order : orders_) order.result.set_value({});
  orders_.clear();
  for (Process* process : processes_) process->hang_up();
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
std::optional<Compilers::Order> Compilers::next(std::unique_lock<std::mutex>& lock) {
  ++idle_;
  changed_.wait(lock, [this] { return ending_ || !orders_.empty(); });
  --idle_;
  if (ending_) return {};
  Order order = std::move(orders_.front());
  orders_.pop_front();
  return order;
}

void Compilers::work() {
  std::unique_ptr<Process> process;
  bool usable = true;  // until a process has not found its device
  std::unique_lock lock(mutex_);
  while (std::optional<Order> order = next(lock)) {
    const bool is_new = usable && process == nullptr;
    if (is_new) {
      process = std::make_unique<Process>(command_);
      processes_.push_back(process.get());
    }
    lock.unlock();
    usable = usable && (!is_new || process->greets());
    const std::optional<std::string> answer = usable ? process->answer(order->program) : std::nullopt;
    lock.lock();
    if (!answer) std::erase(processes_, process.get());
    if (ending_) {
      order->result.set_value({});
      break;
    }
    lock.unlock();
    const Result result = answer ? result_of(*answer) : usable ? crash(process->status()) : Result{};
    if (!answer) process.reset();
    if (order->keep) order->keep(result);
    order->result.set_value(result);
    lock.lock();
  }
  std::erase(processes_, process.get());
  lock.unlock();  // the process is waited for
}

void serve_compiler(const OpenclSite& site, const std::string& device_name, int socket) {
  const cl_context_properties properties[] = {CL_CONTEXT_PLATFORM,
                                              reinterpret_cast<cl_context_properties>(site.platform), 0};
  cl_int status = CL_SUCCESS;
  const cl::Context context(clCreateContext(properties, 1, &site.device, nullptr, nullptr, &status));
  cl::check_call(status, device_name + ": clCreateContext");
  bool heard = send_text(socket, kGreeting);
  while (heard) {
    const auto what = receive_text(socket), source = receive_text(socket), options = receive_text(socket);
    if (!options) return;
    std::string answer(1, kBinary);
    try {
      const cl::Program program = build_program(context.get(), site.device, {*what, *source, *options}, device_name);
      for (const std::byte byte : binary_of(program.get())) answer += static_cast<char>(byte);
    } catch (const Error& error) {
      answer = kProblem + std::string(error.what());
    }
    heard = send_text(socket, answer);
  }
}

}  // namespace v4rt
