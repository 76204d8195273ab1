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

// Which of a device's kernels runs a call, where some are a library's. Which of them is faster depends on shapes,
// driver and machine, so each shape is measured when it is first met, and the times are kept on disk by device and
// shape, with the driver and the versions of the libraries that they hold for.
class KernelChoice {
 public:
  struct Candidate {
    int kernel = 0;  // for Device::make
    std::string_view name;
    std::string library;  // name and version; empty: the exact one
  };

  // Of kernels of `device`, which outlives it and is complete when the first choice is asked for.
  KernelChoice(Device& device, FastOptions options);

  Fast use() const { return options_.use; }

  // The fastest, with the reason, which names the library, the shape and the ratio. One that fails is not taken. With
  // Fast::kAlways the first.
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
