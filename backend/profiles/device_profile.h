#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "backend/device.h"

namespace v4rt {

// What an accelerator can do, as far as it decides what may run there. Files of it have a schema (schema.json).
struct DeviceProfile {
  // What holds for some ops, beyond what holds for all.
  struct Rule {
    std::vector<OpKind> ops;
    std::string refused;       // why they cannot run at all; empty: they can
    std::vector<DType> types;  // that their tensors may have; empty: those of the profile
    int64_t multiple = 1;      // of both dimensions of their matrices
  };

  std::string name, description;
  size_t max_allocation = 0, memory = 0;   // bytes of one buffer, and of all; 0: as the device has
  size_t max_group = 0, local_memory = 0;  // OpenCL: work-items of a work-group, bytes that they share; 0: the same
  size_t row_bytes = 0;                    // that an op's activations may have for one token; 0: any number
  int max_rank = 4;
  std::vector<DType> types;  // that tensors may have; empty: all
  std::vector<Rule> rules;   // the first that names an op is its own
};

// Whether a device with these limits could run the call, or the fact that it cannot.
Support allows(const DeviceProfile& profile, const OpCall& call);

// A device that runs on `inner` what the profile allows and refuses the rest. Called "inner+profile".
std::shared_ptr<Device> create_profiled_device(std::shared_ptr<Device> inner, DeviceProfile profile);
// Name and description of the device that such a one runs on; of others their own.
DeviceInfo without_profile(DeviceInfo info);

// The files of this folder, embedded: name without ".json", and text.
struct ProfileFile {
  std::string_view name, text;
};
std::span<const ProfileFile> built_in_profiles();

}  // namespace v4rt
