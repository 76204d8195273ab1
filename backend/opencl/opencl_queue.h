#pragma once

#include <array>
#include <memory>
#include <vector>

#include "backend/device.h"
#include "backend/opencl/cl.h"
#include "backend/opencl/opencl_buffer.h"
#include "backend/opencl/pinned_staging.h"
#include "backend/overlap.h"

namespace v4rt {

// Work-groups of a launch; the function knows the size of one.
struct Grid {
  size_t x = 1, y = 1, z = 1;
};

class OpenclQueue final : public Queue, public OverlappingQueue {
 public:
  // `lent`: a queue of the host program's, or nullptr for one of its own. `pinned`: copies that are not small go
  // through a PinnedStaging.
  OpenclQueue(cl_context context, cl_device_id device, std::string device_name, cl_command_queue lent = nullptr,
              bool pinned = false);
  ~OpenclQueue() override;
  OpenclQueue(const OpenclQueue&) = delete;
  OpenclQueue& operator=(const OpenclQueue&) = delete;

  void upload(Buffer& dst, size_t offset, std::span<const std::byte> src) override;
  void download(std::span<std::byte> dst, Buffer& src, size_t offset) override;
  void fill(Buffer& dst, std::byte value) override;
  void copy(Buffer& dst, size_t dst_offset, Buffer& src, size_t src_offset, size_t bytes) override;
  void begin(const Step& step) override;
  void launch(const Kernel& kernel, std::span<const Tensor> args, const Step& step) override;
  void finish() override;
  std::unique_ptr<LaterCopy> later_copy() override;

  // int4 rows: {n_rows, n_segments, 0, 0}, one per row {slot, position, first, end}, one per segment {last row, slot,
  // 0, 0}.
  OpenclMemory step_table() const;
  // Counters that are 0 between launches (kernels/tail.h).
  static constexpr size_t kArrivals = 1024;
  OpenclMemory arrivals();
  cl_command_queue handle() const { return queue_.get(); }

  // Reads the first number of `src` without waiting; answer() waits until it is there.
  void ask(Buffer& src);
  int32_t answer();

 private:
  // Host memory that a write in flight reads from; free again when its event is done.
  struct Staging {
    std::vector<std::byte> bytes;
    cl::Event in_flight;
  };
  static constexpr size_t kStagingSlots = 8, kStagingBytes = 1 << 16;  // the table of 4095 rows without growing

  class Copy;

  void verify(cl_int status, std::string_view call) const;  // throws Error; the message is made only then
  Staging& next_staging(size_t bytes);
  void write_staged(cl_mem dst, size_t offset, Staging& staging, size_t bytes);

  cl_context context_;
  std::string device_name_;
  cl::CommandQueue queue_;
  cl::Memory step_table_;
  size_t step_table_bytes_ = 0;
  uint64_t step_table_serial_ = 0;
  cl::Memory arrivals_;
  uint64_t arrivals_serial_ = 0;
  bool has_step_ = false;
  std::array<Staging, kStagingSlots> staging_;
  size_t next_ = 0;
  int32_t answer_ = 0;
  cl::Event answered_;
  std::unique_ptr<PinnedStaging> pinned_;
};

}  // namespace v4rt
