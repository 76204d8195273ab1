#pragma once

#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <utility>

#include "backend/host_buffer.h"
#include "backend/reference/reference_device.h"

namespace v4rt {

// What goes wrong in one kernel: of the `of` ops of one kind that a plan has, in number `which`.
struct Fault {
  OpKind kind;
  int which = 0, of = 1;
  // What is run in place of the kernel; run() is the kernel itself.
  std::function<void(std::span<const Tensor> args, const std::function<void(std::span<const Tensor>)>& run)> run;
};

// The reference device with a fault.
class FaultyDevice final : public Device {
 public:
  explicit FaultyDevice(Fault fault) : fault_(std::move(fault)), inner_(create_reference_device()) {
    info_ = inner_->info();
    info_.name = "faulty";
  }

  const DeviceInfo& info() const override { return info_; }
  Support supports(const OpCall& call) const override { return inner_->supports(call); }
  std::unique_ptr<Kernel> make(const OpCall& call, int kernel) override {
    const bool faulty = call.op.kind() == fault_.kind && made_++ % fault_.of == fault_.which;
    auto made = std::make_unique<Wrapped>(inner_->make(call, kernel), faulty);
    made->name = made->inner->name;
    made->scratch_bytes = made->inner->scratch_bytes;
    return made;
  }
  BufferPtr allocate(size_t bytes) override { return inner_->allocate(bytes); }
  BufferPtr import_host(std::span<const std::byte> memory) override { return inner_->import_host(memory); }
  std::unique_ptr<v4rt::Queue> create_queue() override {
    return std::make_unique<Queue>(inner_->create_queue(), fault_);
  }

 private:
  struct Wrapped final : Kernel {
    Wrapped(std::unique_ptr<Kernel> kernel, bool is_faulty) : inner(std::move(kernel)), faulty(is_faulty) {}
    std::unique_ptr<Kernel> inner;
    bool faulty;
  };

  class Queue final : public v4rt::Queue {
   public:
    Queue(std::unique_ptr<v4rt::Queue> inner, const Fault& fault) : inner_(std::move(inner)), fault_(fault) {}
    void upload(Buffer& dst, size_t offset, std::span<const std::byte> src) override {
      inner_->upload(dst, offset, src);
    }
    void download(std::span<std::byte> dst, Buffer& src, size_t offset) override { inner_->download(dst, src, offset); }
    void fill(Buffer& dst, std::byte value) override { inner_->fill(dst, value); }
    void copy(Buffer& dst, size_t dst_offset, Buffer& src, size_t src_offset, size_t bytes) override {
      inner_->copy(dst, dst_offset, src, src_offset, bytes);
    }
    void begin(const Step& step) override { inner_->begin(step); }
    void launch(const Kernel& kernel, std::span<const Tensor> args, const Step& step) override {
      const auto& wrapped = static_cast<const Wrapped&>(kernel);
      const auto run = [&](std::span<const Tensor> with) { inner_->launch(*wrapped.inner, with, step); };
      wrapped.faulty ? fault_.run(args, run) : run(args);
    }
    void finish() override { inner_->finish(); }

   private:
    std::unique_ptr<v4rt::Queue> inner_;
    const Fault& fault_;
  };

  Fault fault_;
  std::shared_ptr<Device> inner_;
  DeviceInfo info_;
  int made_ = 0;
};

inline BufferPtr copy_of(const BufferPtr& buffer) {
  const auto memory = std::make_shared<std::vector<std::byte>>(buffer->host(), buffer->host() + buffer->bytes());
  return std::make_shared<HostBuffer>(memory->data(), memory->size(), memory);
}

}  // namespace v4rt
