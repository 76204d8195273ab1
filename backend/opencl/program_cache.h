#pragma once

#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "backend/binary_store.h"
#include "backend/opencl/capabilities.h"
#include "backend/opencl/cl.h"

namespace v4rt {

// The programs of one device: one per kernel file and set of definitions, from the store on disk where it has them.
class ProgramCache {
 public:
  ProgramCache(cl_context context, const OpenclSite& site, const Capabilities& capabilities,
               const std::string& directory);

  // The built program of kernels/`file` with the definitions ("DIM=128") as -D options. Throws Error(kDevice) with the
  // compiler's log. The program lives as long as the cache.
  cl_program get(std::string_view file, const std::vector<std::string>& definitions);

  // Stores on disk what was built from source here. To be called late: some drivers compile a kernel at its first
  // launch, and answer ever after what they answered when its binary was first asked for.
  void store_built();

 private:
  struct Entry {
    cl::Program program;
    std::string key;
    bool built_here = false;
  };
  Entry build(std::string_view file, const std::string& options) const;
  cl::Program from_binary(const std::string& key, const std::string& options) const;
  cl::Program from_source(std::string_view file, const std::string& source, const std::string& options) const;

  cl_context context_;
  cl_device_id device_;
  std::string identity_;        // of device and driver: part of every key
  std::string common_options_;  // of every program
  BinaryStore disk_;
  std::mutex mutex_;
  std::map<std::string, Entry> programs_;  // by file and options
};

}  // namespace v4rt
