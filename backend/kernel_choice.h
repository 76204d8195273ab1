#pragma once

#include <map>
#include <mutex>
#include <span>
#include <string>
#include <string_view>

#include "backend/binary_store.h"
#include "backend/device.h"
#include "backend/fast.h"

namespace v4rt {

// Chooses the kernel for a call when a device has kernels of libraries too. Which one is faster depends on shapes,
// driver and machine, so each shape is measured when it first comes up. Times are kept on disk by device and shape,
// with the driver and the versions of the libraries.
class KernelChoice {
 public:
  struct Candidate {
    int kernel = 0;  // for Device::make
    std::string_view name;
    std::string library;  // name and version; empty: the exact one
  };

  // Chooses kernels of `device`, which must outlive it, and must be complete before the first choice.
  KernelChoice(Device& device, FastOptions options);

  Fast use() const { return options_.use; }

  // The fastest kernel, and why: library, shape and ratio. Kernels that fail are not taken. With Fast::kAlways, the
  // first one.
  Support of(const OpCall& call, std::span<const Candidate> candidates);

 private:
  struct Times;
  Times times_of(const OpCall& sample, std::span<const Candidate> candidates);
  Times measured(const OpCall& sample, std::span<const Candidate> candidates);

  Device& device_;
  const FastOptions options_;
  const BinaryStore disk_;
  std::mutex mutex_;
  std::map<std::string, Support> chosen_;  // by shape
};

}  // namespace v4rt
