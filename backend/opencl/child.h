#pragma once

#include <sys/types.h>

#include <chrono>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace v4rt {

// Texts through a socket, each behind its length. False, nullopt: the other side is gone.
bool send_text(int socket, std::string_view text);
std::optional<std::string> receive_text(int socket);

inline constexpr std::string_view kGreeting = "v4rt";                        // what a child says first
inline constexpr std::string_view kCompile = "compile", kLaunch = "launch",  // what it may be asked for:
    kTry = "try";                                                            // compilers.h, lanes_trial.h

// A process that works for this one, in which drivers may crash and hang: it calls serve(), its standard input being
// our socket. What drivers print goes nowhere.
class Child {
 public:
  explicit Child(const std::vector<std::string>& command);
  ~Child();  // ends it
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  bool greets();  // once: it has found its device
  bool say(std::initializer_list<std::string_view> texts);
  std::optional<std::string> hear();                         // nullopt: it is gone, or was hung up on
  bool speaks_within(std::chrono::milliseconds time) const;  // or is gone: hear() does not wait long
  void hang_up();
  std::string end();  // how it ended, for which it waits: "signal 11, Segmentation fault"

 private:
  int wait();

  pid_t process_ = 0;
  int socket_ = -1;
};

}  // namespace v4rt
