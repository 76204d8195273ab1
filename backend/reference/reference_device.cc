#include "backend/reference/reference_device.h"

#include <cstdlib>
#include <new>

#include "backend/cpu/host_speed.h"
#include "backend/host_buffer.h"
#include "backend/state_memory.h"
#include "ops/core/arith.h"
#include "ops/ref_context.h"

namespace v4rt {
namespace {

constexpr size_t kAlignment = 64;

class ReferenceKernel final : public Kernel {
 public:
  ReferenceKernel(const Op& op, size_t n_inputs) : op(op), n_inputs(n_inputs) {}
  const Op& op;  // the plan that owns this kernel owns the op too
  const size_t n_inputs;
};

class ReferenceQueue final : public Queue {
 public:
  void upload(Buffer& dst, size_t offset, std::span<const std::byte> src) override {
    std::memcpy(dst.host() + offset, src.data(), src.size());
  }
  void download(std::span<std::byte> dst, Buffer& src, size_t offset) override {
    std::memcpy(dst.data(), src.host() + offset, dst.size());
  }
  void fill(Buffer& dst, std::byte value) override { std::memset(dst.host(), static_cast<int>(value), dst.bytes()); }
  void copy(Buffer& dst, size_t dst_offset, Buffer& src, size_t src_offset, size_t bytes) override {
    std::memcpy(dst.host() + dst_offset, src.host() + src_offset, bytes);
  }
  void begin(const Step&) override {}
  void launch(const Kernel& kernel, std::span<const Tensor> args, const Step& step) override {
    const auto& reference = static_cast<const ReferenceKernel&>(kernel);
    const RefMemory::Use use(memory_);
    RefContext context(args.first(reference.n_inputs), args.subspan(reference.n_inputs), step);
    reference.op.reference(context);
  }
  void finish() override {}

 private:
  RefMemory memory_;
};

class ReferenceDevice final : public Device, public StateHolder {
 public:
  const DeviceInfo& info() const override { return info_; }

  Support supports(const OpCall& call) const override {
    for (const TensorType& type : call.inputs) {
      if (type.layout != Layout::kRows) return Support::no("the reference reads row-major tensors only");
    }
    return {};
  }

  std::unique_ptr<Kernel> make(const OpCall& call, int) override {
    auto kernel = std::make_unique<ReferenceKernel>(call.op, call.inputs.size());
    kernel->name = "reference." + std::string(v4rt::name(call.op.kind()));
    return kernel;
  }

  BufferPtr allocate(size_t bytes) override {
    const size_t rounded = round_up(bytes, kAlignment);
    void* memory = rounded < bytes ? nullptr : std::aligned_alloc(kAlignment, rounded == 0 ? kAlignment : rounded);
    check(memory != nullptr, Code::kOutOfMemory, "reference: cannot allocate {} bytes", bytes);
    const std::shared_ptr<void> owner(memory, std::free);
    return std::make_shared<HostBuffer>(static_cast<std::byte*>(memory), bytes, owner);
  }

  BufferPtr import_host(std::span<const std::byte> memory) override { return borrow_host(memory); }
  std::unique_ptr<Queue> create_queue() override { return std::make_unique<ReferenceQueue>(); }
  StateMemory state_memory() const override { return StateMemory::kPages; }
  DeviceSpeed measure_speed() override { return measure_host(1, /*matrix_unit=*/false); }

 private:
  DeviceInfo info_{.name = "reference",
                   .description = "the definition of every operator, one thread",
                   .alignment = kAlignment,
                   .features = {}};
};

}  // namespace

std::shared_ptr<Device> create_reference_device() { return std::make_shared<ReferenceDevice>(); }

}  // namespace v4rt
