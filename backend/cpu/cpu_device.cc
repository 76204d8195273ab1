#include "backend/cpu/cpu_device.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <mutex>

#include "backend/cpu/cpu_kernel.h"
#include "backend/cpu/host_speed.h"
#include "backend/cpu/kernels.h"
#include "backend/cpu/simd/amx.h"
#include "backend/cpu/simd/target.h"
#include "backend/host_buffer.h"
#include "ops/core/arith.h"
#include "ops/core/host.h"
#include "ops/core/log.h"

namespace v4rt {
namespace {

constexpr size_t kAlignment = 64;
constexpr size_t kHugePage = size_t{2} << 20;

std::string cpu_brand() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with("model name")) continue;
    const size_t colon = line.find(": ");
    if (colon != std::string::npos) return line.substr(colon + 2);
  }
  return "CPU";
}

class CpuQueue final : public Queue {
 public:
  explicit CpuQueue(std::shared_ptr<CpuDevice> device)
      : device_(std::move(device)), pool_(device_->pool()), turns_(device_->turns()) {}

  void upload(Buffer& dst, size_t offset, std::span<const std::byte> src) override {
    if (!src.empty()) std::memcpy(dst.host() + offset, src.data(), src.size());
  }
  void download(std::span<std::byte> dst, Buffer& src, size_t offset) override {
    if (!dst.empty()) std::memcpy(dst.data(), src.host() + offset, dst.size());
  }
  void fill(Buffer& dst, std::byte value) override { std::memset(dst.host(), static_cast<int>(value), dst.bytes()); }
  void copy(Buffer& dst, size_t dst_offset, Buffer& src, size_t src_offset, size_t bytes) override {
    std::memcpy(dst.host() + dst_offset, src.host() + src_offset, bytes);
  }
  void begin(const Step&) override {}
  void launch(const Kernel& kernel, std::span<const Tensor> args, const Step& step) override {
    std::unique_lock<Turns> turn;
    if (turns_ != nullptr) turn = std::unique_lock(*turns_);
    static_cast<const CpuKernel&>(kernel).run({args, step, *pool_});
  }
  void finish() override {}

 private:
  const std::shared_ptr<CpuDevice> device_;
  const std::shared_ptr<ThreadPool> pool_;
  Turns* const turns_;  // null: none are taken
};

void* allocate_pages(size_t bytes, size_t alignment, void*) {
  void* memory = std::aligned_alloc(alignment, round_up(bytes, alignment));
  if (memory != nullptr && alignment >= kHugePage) (void)madvise(memory, bytes, MADV_HUGEPAGE);  // fewer page walks
  return memory;
}

}  // namespace

CpuDevice::CpuDevice(int threads, FastOptions fast, const simd::DotPaths& paths, const CpuOptions& options)
    : TableDevice(cpu_kernels(), std::move(fast)),
      asked_threads_(threads),
      threads_(threads > 0 ? threads : usable_processors()),
      paths_(paths),
      options_(options) {
  const auto pages = static_cast<size_t>(sysconf(_SC_PHYS_PAGES)), page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  info_.name = "cpu";
  info_.features = simd::features();
  info_.description = fmt::format("{}, {} {}, {}", cpu_brand(), threads_, threads_ == 1 ? "thread" : "threads",
                                  fmt::join(info_.features, "+"));
  if (const std::string& why = simd::amx().refusal; !why.empty())
    info_.description += fmt::format(" (no amx: {})", why);
  info_.alignment = kAlignment;
  info_.max_allocation = info_.memory = pages * page;
}

Layout CpuDevice::weight_layout(const TensorType& weight) const {
  const int rank = weight.shape.rank();
  const bool matrix = (rank == 2 || rank == 3) && weight.dtype != DType::kI32 && weight.dtype != DType::kU8;
  return matrix ? Layout::kRows16 : Layout::kRows;
}

BufferPtr CpuDevice::allocate(size_t bytes) {
  check(bytes <= info_.memory, Code::kOutOfMemory,
        "cpu: {} bytes are more than this machine's {}; a shorter context or fewer slots need less", bytes,
        info_.memory);
  const size_t alignment = bytes >= 4 * kHugePage ? kHugePage : kAlignment, n = std::max<size_t>(bytes, 1);
  static constexpr HostMemory kSystem{allocate_pages, [](void* memory, size_t, size_t, void*) { std::free(memory); }};
  const HostMemory source = options_.memory.allocate != nullptr ? options_.memory : kSystem;
  void* memory = source.allocate(n, alignment, source.user);
  check(memory != nullptr, Code::kOutOfMemory,
        "cpu: cannot allocate {} bytes; a shorter context or fewer slots need less", bytes);
  const std::shared_ptr<void> owner(memory, [=](void* m) { source.release(m, n, alignment, source.user); });
  check(reinterpret_cast<uintptr_t>(memory) % alignment == 0, Code::kInvalidArgument,
        "cpu: the host program's allocator gave {}, which is not a multiple of {}", memory, alignment);
  return std::make_shared<HostBuffer>(static_cast<std::byte*>(memory), bytes, owner);
}

// Kernels read whole elements of at most four bytes; memory with less alignment has to be copied.
BufferPtr CpuDevice::import_host(std::span<const std::byte> memory) {
  if (reinterpret_cast<uintptr_t>(memory.data()) % 4 != 0) return nullptr;
  return borrow_host(memory);
}

DeviceSpeed CpuDevice::measure_speed() {
  return measure_host(threads_, std::ranges::find(info_.features, "amx") != info_.features.end());
}

std::shared_ptr<ThreadPool> CpuDevice::pool() {
  if (options_.sharing == ThreadSharing::kOwn) return start_pool();
  std::call_once(pool_once_, [this] { pool_ = start_pool(); });
  return pool_;
}

// Results do not depend on the number of threads, so fewer are an error only if the number was asked for.
std::shared_ptr<ThreadPool> CpuDevice::start_pool() const {
  auto pool = std::make_shared<ThreadPool>(threads_);
  if (pool->threads() == threads_) return pool;
  const std::string fact = fmt::format("cpu: {} of {} threads could be started: {}", pool->threads(), threads_,
                                       pool->start_error().message());
  check(asked_threads_ == 0, Code::kOutOfMemory,
        "{}; ask for fewer, or raise the limits of processes and of address space", fact);
  log::warn("{}; it goes on with these", fact);
  return pool;
}

std::unique_ptr<Queue> CpuDevice::create_queue() { return std::make_unique<CpuQueue>(shared_from_this()); }

std::shared_ptr<Device> create_cpu_device(int threads, FastOptions fast, const simd::DotPaths& paths,
                                          const CpuOptions& options) {
  return std::make_shared<CpuDevice>(threads, std::move(fast), paths, options);
}

}  // namespace v4rt
