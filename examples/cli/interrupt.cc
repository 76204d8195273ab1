#include "examples/cli/interrupt.h"

#include <csignal>

namespace v4rt::cli {
namespace {

volatile std::sig_atomic_t flag = 0;

void on_interrupt(int) { flag = 1; }

}  // namespace

InterruptGuard::InterruptGuard(Mode mode) {
  flag = 0;
  struct sigaction action {};
  action.sa_handler = on_interrupt;
  // No SA_RESTART: a read that waits for the keyboard comes back with EINTR.
  action.sa_flags = mode == Mode::kOnce ? SA_RESETHAND : 0;
  sigaction(SIGINT, &action, nullptr);
}

InterruptGuard::~InterruptGuard() { std::signal(SIGINT, SIG_DFL); }

bool InterruptGuard::raised() { return flag != 0; }
void InterruptGuard::clear() { flag = 0; }

}  // namespace v4rt::cli
