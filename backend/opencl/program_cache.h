#pragma once

#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "backend/binary_store.h"
#include "backend/device.h"
#include "backend/opencl/capabilities.h"
#include "backend/opencl/cl.h"
#include "backend/opencl/kernel_sources.h"

namespace v4rt {

// The programs of one device: one per kernel and set of definitions, from the store on disk where it has them. What is
// built from source is stored at once.
class ProgramCache {
 public:
  // `device_name` is for messages.
  ProgramCache(cl_context context, const OpenclSite& site, const Capabilities& capabilities, std::string device_name,
               const std::string& directory);

  // Kernel `name` of the source built with the definitions ("DIM=128") as -D options. Throws Error(kDevice) with the
  // compiler's log.
  cl::Function function(const KernelSource& source, const std::vector<std::string>& definitions,
                        const std::string& name);

  std::vector<DeviceProgram> programs();

 private:
  struct Entry {
    std::string file, text, name, options, key;
    cl::Program program;      // empty: not loaded or built yet
    bool made = false;        // a function of it
    bool built_here = false;  // from source; a stored binary may turn out to be unusable
  };
  cl::Function stored_function(Entry& entry) const;
  void build(Entry& entry) const;  // from source, and stores it

  cl_context context_;
  cl_device_id device_;
  std::string device_name_;
  std::string identity_;        // of device and driver: part of every key
  std::string common_options_;  // of every program
  BinaryStore disk_;
  std::mutex mutex_;
  std::map<std::string, Entry> entries_;  // by file, name and options
};

}  // namespace v4rt
