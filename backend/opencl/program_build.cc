#include "backend/opencl/program_build.h"

namespace v4rt {

cl::Program build_program(cl_context context, cl_device_id device, const ProgramText& text,
                          const std::string& device_name) {
  const char* source = text.source.c_str();
  cl_int status = CL_SUCCESS;
  cl::Program program(clCreateProgramWithSource(context, 1, &source, nullptr, &status));
  cl::check_call(status, device_name + ": clCreateProgramWithSource");
  status = clBuildProgram(program.get(), 1, &device, text.options.c_str(), nullptr, nullptr);
  check(status == CL_SUCCESS, Code::kDevice, "{}: {} does not build with \"{}\": {} ({})\n{}", device_name, text.what,
        text.options, cl::error_name(status), status, build_log(program.get(), device));
  return program;
}

cl_int load_program(cl_context context, cl_device_id device, const ProgramText& text, std::span<const std::byte> binary,
                    cl::Program& program) {
  const size_t size = binary.size();
  const auto* data = reinterpret_cast<const unsigned char*>(binary.data());
  cl_int status = CL_SUCCESS;
  cl::Program loaded(clCreateProgramWithBinary(context, 1, &device, &size, &data, nullptr, &status));
  if (status == CL_SUCCESS) status = clBuildProgram(loaded.get(), 1, &device, text.options.c_str(), nullptr, nullptr);
  if (status == CL_SUCCESS) program = std::move(loaded);
  return status;
}

std::string build_log(cl_program program, cl_device_id device) {
  size_t size = 0;
  if (clGetProgramBuildInfo(program, device, CL_PROGRAM_BUILD_LOG, 0, nullptr, &size) != CL_SUCCESS || size == 0)
    return {};
  std::string log(size, '\0');
  clGetProgramBuildInfo(program, device, CL_PROGRAM_BUILD_LOG, size, log.data(), nullptr);
  log.resize(log.find('\0') == std::string::npos ? size : log.find('\0'));
  return log;
}

std::vector<std::byte> binary_of(cl_program program) {
  size_t size = 0;
  if (clGetProgramInfo(program, CL_PROGRAM_BINARY_SIZES, sizeof(size), &size, nullptr) != CL_SUCCESS) return {};
  std::vector<std::byte> binary(size);
  auto* data = reinterpret_cast<unsigned char*>(binary.data());
  if (size == 0 || clGetProgramInfo(program, CL_PROGRAM_BINARIES, sizeof(data), &data, nullptr) != CL_SUCCESS)
    return {};
  return binary;
}

}  // namespace v4rt
