#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "backend/state_memory.h"

namespace v4rt {

struct Count {
  size_t live = 0, most = 0, largest = 0;
};

// A device whose allocations are counted; everything else is `inner`'s. With another name it is one with memory of its
// own, which uses none of the host's in place.
class CountingDevice final : public Device, public StateHolder {
 public:
  CountingDevice(std::shared_ptr<Device> inner, std::shared_ptr<Count> count, const std::string& name = "")
      : inner_(std::move(inner)), count_(std::move(count)), info_(inner_->info()), imports_(name.empty()) {
    if (!name.empty()) info_.name = name;
  }

  const DeviceInfo& info() const override { return info_; }
  Support supports(const OpCall& call) const override { return inner_->supports(call); }
  std::unique_ptr<Kernel> make(const OpCall& call, int kernel) override { return inner_->make(call, kernel); }
  Layout weight_layout(const TensorType& weight) const override { return inner_->weight_layout(weight); }
  BufferPtr import_host(std::span<const std::byte> memory) override {
    return imports_ ? inner_->import_host(memory) : nullptr;
  }
  std::unique_ptr<Queue> create_queue() override { return inner_->create_queue(); }
  StateMemory state_memory() const override {  // pages are not allocated here
    const StateMemory memory = v4rt::state_memory(*inner_);
    return memory == StateMemory::kPages ? StateMemory::kWhole : memory;
  }
  Extents make_extents(const ExtentsSpec& spec) override {
    return dynamic_cast<StateHolder&>(*inner_).make_extents(spec);
  }

  BufferPtr allocate(size_t bytes) override {
    BufferPtr buffer = inner_->allocate(bytes);
    count_->live += bytes;
    count_->most = std::max(count_->most, count_->live);
    count_->largest = std::max(count_->largest, bytes);
    Buffer* raw = buffer.get();
    return {raw, [buffer = std::move(buffer), count = count_, bytes](Buffer*) mutable {
              buffer.reset();
              count->live -= bytes;
            }};
  }

 private:
  std::shared_ptr<Device> inner_;
  std::shared_ptr<Count> count_;
  DeviceInfo info_;
  bool imports_;
};

}  // namespace v4rt
