#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "backend/opencl/cl.h"

namespace v4rt {

struct ProgramText {
  std::string what;  // for messages: "linear of linear.cl"
  std::string source, options;
};

// Throws Error(kDevice) with the compiler's log; `device_name` begins the message.
cl::Program build_program(cl_context context, cl_device_id device, const ProgramText& text,
                          const std::string& device_name);

// Of a binary that binary_of gave; leaves `program` as it is if the driver refuses it.
cl_int load_program(cl_context context, cl_device_id device, const ProgramText& text, std::span<const std::byte> binary,
                    cl::Program& program);

std::string build_log(cl_program program, cl_device_id device);

std::vector<std::byte> binary_of(cl_program program);  // empty: the driver gives none

}  // namespace v4rt
