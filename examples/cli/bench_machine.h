#pragma once

namespace v4rt::cli {

// The best that the host can do, measured, for benchmarks to compare with.
struct MachineSpeed {
  int threads = 1;
  // 1e9 bytes/s: every thread sums a part of its own of one large buffer; best of several passes.
  double read_gbs = 0;
  double buffer_bytes = 0;
  // 1e9 FLOP/s: f32 multiply-adds (fma, 2 FLOP each) in registers, in the widest vectors there are; best of several.
  double peak_gflops = 0;
  // The same for dot products of bf16 pairs (AVX512-BF16); 0 where there are none.
  double bf16_gflops = 0;
  // The same for tiles of bf16 in a matrix unit (AMX); 0 where there is none.
  double matrix_gflops = 0;

  double best_bf16_gflops() const;  // of all that multiply bf16 numbers exactly, f32 among them
};

// `matrix_unit`: there is one that the process may use. Takes about a second, and 1 GiB of memory or a quarter of what
// is free. A shared machine changes from one second to the next, so measure it often.
MachineSpeed measure_machine(int threads, bool matrix_unit);

}  // namespace v4rt::cli
