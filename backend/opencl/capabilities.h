#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "backend/lanes.h"
#include "backend/opencl/cl.h"

namespace v4rt {

// One OpenCL device of one platform, as the platforms list them, or a part of one.
struct OpenclSite {
  cl_platform_id platform = nullptr;
  cl_device_id device = nullptr;
};

// The parts of a device, which share its memory and divide its compute units: one for each NUMA domain where the driver
// divides by them, otherwise two halves. Empty: it cannot be divided. They are made once and live as long as the
// process: PoCL's threads still use a device when everything made for it is finished and released.
std::vector<OpenclSite> parts_of(const OpenclSite& whole);

// Every device of every platform that can be used, in the loader's order; and what went wrong with others: the platform
// or device, the call and its code, or the fact.
struct OpenclSites {
  std::vector<OpenclSite> sites;
  std::vector<std::string> problems;
};
OpenclSites find_opencl_sites();

// What was asked of the device, once. Decisions are made from these figures, never from names.
struct Capabilities {
  std::string device_name, driver_version, platform_name, platform_version;
  bool compiler = true;                      // otherwise there is nothing but built-in kernels
  std::vector<std::string> builtin_kernels;  // CL_DEVICE_BUILT_IN_KERNELS
  Lanes lanes = Lanes::kWorkItems;           // kernels are chosen by this alone; at first by type and vectors
  size_t max_allocation = 0, memory = 0, local_memory = 0, max_group = 0, alignment = 128;
  size_t argument_bytes = 0;  // of one kernel, at most
  unsigned compute_units = 1;
  bool correct_divide_sqrt = false;  // -cl-fp32-correctly-rounded-divide-sqrt is honoured
  bool fma_wrong_at_zero = false;    // fma(-0, 0, 0) is -0; found by arithmetic.h
  bool unified_memory = false;       // the device's memory is the host's
  bool host_memory = false;          // and a CL_MEM_USE_HOST_PTR buffer is that memory itself
  bool denormals = false;  // subnormal numbers are kept, everywhere: said by the device, found by arithmetic.h
  bool fp64 = false;
  std::string fenced_language;  // "CL3.0": an OpenCL C with atomics and fences of device scope; empty: there is none
  bool processor = false;       // its type is that of CPUs

  std::vector<std::string> features() const;
};

Capabilities query_capabilities(const OpenclSite& site);

// Why nothing can run there; empty when something can.
std::string unusable_because(const OpenclSite& site);

}  // namespace v4rt
