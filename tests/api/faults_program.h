#pragma once

#include <v4rt.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>

namespace faults {

struct Outcome {
  v4rt_status status = V4RT_OK;  // of the first call that failed
  char message[256] = "";        // its message
  bool complete = false;         // the program came to its end
  int32_t results[96] = {};      // tokens, and sizes of texts; nothing here allocates: the faults are the library's
  size_t count = 0;

  void add(int64_t result) { results[count++ % std::size(results)] = static_cast<int32_t>(result); }
  bool same_results(const Outcome& other) const {
    return count == other.count && std::equal(results, results + std::min(count, std::size(results)), other.results);
  }
};

// What a program does through the C interface, from nothing to tokens and back to nothing, on a device; on opencl:host
// with a context and a queue of its own. A call that fails ends it; or, `again`, is made once more, and ends it only
// when it fails again.
Outcome run_program(const char* model_path, const char* device, bool again);

}  // namespace faults
