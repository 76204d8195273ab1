#include "examples/cli/interrupt.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <utility>

#include "ops/core/error.h"

namespace v4rt::cli {
namespace {

volatile std::sig_atomic_t flag = 0;  // the signal that came
int wake[2] = {
    -1, -1};  // a pipe that holds a byte while the flag is set, so that poll() wakes up whichever thread got the signal

void on_interrupt(int signal) {
  const int error = errno;
  flag = signal;
  (void)!::write(wake[1], "", 1);
  errno = error;
}

}  // namespace

InterruptGuard::InterruptGuard(Mode mode) {
  flag = 0;
  check(::pipe2(wake, O_CLOEXEC | O_NONBLOCK) == 0, Code::kInternal, "a pipe cannot be made: {}", std::strerror(errno));
  struct sigaction action {};
  action.sa_handler = on_interrupt;
  action.sa_flags = SA_RESTART | (mode == Mode::kOnce ? SA_RESETHAND : 0);
  sigaction(SIGINT, &action, nullptr);
  if (mode == Mode::kAlways) return;
  for (const int signal : {SIGTERM, SIGHUP}) {
    struct sigaction before {};
    sigaction(signal, nullptr, &before);
    if (before.sa_handler != SIG_IGN) sigaction(signal, &action, nullptr);  // nohup has SIGHUP ignored
  }
}

InterruptGuard::~InterruptGuard() {
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction now {};
    sigaction(signal, nullptr, &now);
    if (now.sa_handler == on_interrupt) std::signal(signal, SIG_DFL);
  }
  for (int& end : wake) ::close(std::exchange(end, -1));
}

bool InterruptGuard::raised() { return flag != 0; }
int InterruptGuard::status() { return 128 + flag; }

void InterruptGuard::clear() {
  flag = 0;
  char bytes[64];
  while (::read(wake[0], bytes, sizeof(bytes)) > 0) continue;
}

int InterruptGuard::descriptor() { return wake[0]; }

}  // namespace v4rt::cli
