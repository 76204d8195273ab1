#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace v4rt::cli {

// What the host can do at best, in 1e9 a second; 0: it cannot, or it was not measured.
struct MachineSpeed {
  double read_gbs = 0;     // bytes: every thread sums its part of one large buffer
  double peak_gflops = 0;  // FLOP: f32 multiply-adds (fma, two each) in registers, in the widest vectors there are
  double bf16_gflops = 0;  // the same for dot products of bf16 pairs (AVX512-BF16)
};

// Measures the host, as often as it is asked to: machines that are shared change from one second to the next.
class Machine {
 public:
  explicit Machine(int threads);  // takes 1 GiB of memory, or a quarter of what is free

  int threads() const { return threads_; }
  double buffer_bytes() const { return static_cast<double>(threads_) * static_cast<double>(part_bytes_); }
  MachineSpeed measure() const;  // the best of several passes; takes half a second or so

 private:
  double read_gbs() const;

  const int threads_;
  size_t part_bytes_ = 0;  // of each thread
  std::shared_ptr<uint64_t> buffer_;
};

// One per core that the process may use.
int available_threads();

}  // namespace v4rt::cli
