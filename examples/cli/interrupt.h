#pragma once

namespace v4rt::cli {

// While it lives, Ctrl-C sets a flag in place of ending the program. kOnce: a second Ctrl-C ends it, for work that does
// not come to look at the flag.
class InterruptGuard {
 public:
  enum class Mode { kOnce, kAlways };
  explicit InterruptGuard(Mode mode);
  ~InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;

  static bool raised();
  static void clear();
  static int descriptor();  // can be read from when the flag is set: for poll()
};

}  // namespace v4rt::cli
