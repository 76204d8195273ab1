#pragma once

namespace v4rt::cli {

// While it lives, Ctrl-C sets a flag instead of ending the program.
// kOnce: for work that ends early when the flag is set, so that no unfinished file stays. SIGTERM and SIGHUP set it
// too, and the second signal ends the program at once. kAlways: for a conversation, which goes on after Ctrl-C.
class InterruptGuard {
 public:
  enum class Mode { kOnce, kAlways };
  explicit InterruptGuard(Mode mode);
  ~InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;

  static bool raised();
  static int status();  // the exit status of a program that ends because of it: 130 after Ctrl-C
  static void clear();
  static int descriptor();  // readable when the flag is set: for poll()
};

}  // namespace v4rt::cli
