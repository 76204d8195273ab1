// The entry point for libFuzzer and replay, around the target's read().

#include "tests/fuzz/target.h"

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "ops/core/error.h"

namespace v4rt::fuzz {
namespace {

// Messages go to a terminal: they must not contain control characters, and must not be endless.
void check_message(std::string_view message) {
  require(!message.empty() && message.size() < 4096, "a message of a length that no one reads");
  const auto steers = [](char c) { return (static_cast<unsigned char>(c) < 0x20 && c != '\n') || c == 0x7f; };
  require(std::none_of(message.begin(), message.end(), steers), "a message with control characters");
}

}  // namespace

void require(bool ok, std::string_view what) {
  if (ok) return;
  std::fprintf(stderr, "broken: %.*s\n", static_cast<int>(what.size()), what.data());
  std::abort();
}

}  // namespace v4rt::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    v4rt::fuzz::read({reinterpret_cast<const char*>(data), size});
  } catch (const v4rt::Error& error) {
    v4rt::fuzz::check_message(error.what());
  }
  return 0;
}
