#pragma once

#include <memory>
#include <mutex>
#include <string>

#include "backend/cpu/simd/dot.h"
#include "backend/cpu/thread_pool.h"
#include "backend/cpu/turns.h"
#include "backend/cpu_options.h"
#include "backend/kernel_table.h"
#include "backend/state_memory.h"

namespace v4rt {

class CpuDevice final : public TableDevice<CpuDevice>,
                        public StateHolder,
                        public std::enable_shared_from_this<CpuDevice> {
 public:
  // threads, 0: one per processor that the process may use. paths: how the exact products are formed.
  explicit CpuDevice(int threads, FastOptions fast = {}, const simd::DotPaths& paths = simd::fastest_paths(),
                     const CpuOptions& options = {});

  const DeviceInfo& info() const override { return info_; }
  Layout weight_layout(const TensorType& weight) const override;
  BufferPtr allocate(size_t bytes) override;
  BufferPtr import_host(std::span<const std::byte> memory) override;
  std::unique_ptr<Queue> create_queue() override;
  DeviceSpeed measure_speed() override;
  StateMemory state_memory() const override {  // the host program's allocator gives memory that is mapped once
    return options_.memory.allocate != nullptr ? StateMemory::kWhole : StateMemory::kPages;
  }

  int threads() const { return threads_; }
  const simd::DotPaths& paths() const { return paths_; }
  // Those of a queue. Threads start with the first one, so that listing devices is cheap. Throws Error if a number was
  // asked for and cannot be started.
  std::shared_ptr<ThreadPool> pool();
  Turns* turns() { return options_.sharing == ThreadSharing::kTurns ? &turns_ : nullptr; }

 private:
  std::shared_ptr<ThreadPool> start_pool() const;

  DeviceInfo info_;
  int asked_threads_;  // 0: as many as there are processors
  int threads_;
  simd::DotPaths paths_;
  const CpuOptions options_;
  Turns turns_;
  std::once_flag pool_once_;
  std::shared_ptr<ThreadPool> pool_;
};

std::shared_ptr<Device> create_cpu_device(int threads, FastOptions fast = {},
                                          const simd::DotPaths& paths = simd::fastest_paths(),
                                          const CpuOptions& options = {});

}  // namespace v4rt
