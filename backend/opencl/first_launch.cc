#include "backend/opencl/first_launch.h"

#include <cstring>
#include <span>

#include "backend/opencl/compilers.h"
#include "ops/core/error.h"

namespace v4rt {
namespace {

constexpr uint64_t kMostCopied = uint64_t{64} << 10, kMostCleared = uint64_t{256} << 20;

template <class T>
void append(std::string& text, const T* values, size_t n) {
  if (n > 0) text.append(reinterpret_cast<const char*>(values), n * sizeof(T));
}

// Takes values from the front of a text.
template <class T>
T taken(std::string_view& text) {
  T value{};
  check(text.size() >= sizeof(value), Code::kInternal, "a launch ends early");
  std::memcpy(&value, text.data(), sizeof(value));
  text.remove_prefix(sizeof(value));
  return value;
}

cl::Memory memory_of(cl_context context, cl_command_queue queue, uint64_t bytes, std::string_view content) {
  cl_int status = CL_SUCCESS;
  cl::Memory memory(clCreateBuffer(context, CL_MEM_READ_WRITE, bytes, nullptr, &status));
  cl::check_call(status, "clCreateBuffer");
  const cl_uchar zero = 0;
  if (!content.empty()) {
    status = clEnqueueWriteBuffer(queue, memory.get(), CL_TRUE, 0, content.size(), content.data(), 0, nullptr, nullptr);
    cl::check_call(status, "clEnqueueWriteBuffer");
  } else if (bytes <= kMostCleared) {
    status = clEnqueueFillBuffer(queue, memory.get(), &zero, sizeof(zero), 0, bytes, 0, nullptr, nullptr);
    cl::check_call(status, "clEnqueueFillBuffer");
  }
  return memory;
}

}  // namespace

void FirstLaunch::value(cl_uint index, const void* value, size_t bytes) {
  if (index >= arguments_.size()) {
    arguments_.resize(index + 1);
    memory_.resize(index + 1);
  }
  Argument& argument = arguments_[index] = {};
  check(bytes <= sizeof(argument.value), Code::kInternal, "an argument of {} bytes", bytes);
  argument.bytes = static_cast<uint32_t>(bytes);
  std::memcpy(&argument.value, value, bytes);
}

void FirstLaunch::memory(cl_uint index, const OpenclMemory& memory, size_t bytes) {
  const cl_ulong begin = 0;
  value(index + 1, &begin, sizeof(begin));
  if (bytes == 0) {
    cl::check_call(clGetMemObjectInfo(memory.object, CL_MEM_SIZE, sizeof(bytes), &bytes, nullptr),
                   "clGetMemObjectInfo");
    bytes -= memory.offset;
  }
  arguments_[index] = {bytes, 0, bytes <= kMostCopied ? static_cast<uint32_t>(bytes) : 0};
  memory_[index] = memory;
}

std::string FirstLaunch::text(const OpenclQueue& queue) const {
  std::string text;
  Head head = head_;
  head.arguments = arguments_.size();
  append(text, &head, 1);
  append(text, arguments_.data(), arguments_.size());
  std::string content;
  for (size_t i = 0; i < arguments_.size(); ++i) {
    if (arguments_[i].content == 0) continue;
    content.resize(arguments_[i].content);
    cl::check_call(clEnqueueReadBuffer(queue.handle(), memory_[i].object, CL_TRUE, memory_[i].offset, content.size(),
                                       content.data(), 0, nullptr, nullptr),
                   "clEnqueueReadBuffer");
    text += content;
  }
  return text;
}

std::string launched(cl_context context, cl_device_id device, const ProgramText& text, std::string_view binary,
                     std::string_view name, std::string_view launch, const std::string& device_name) {
  try {
    cl_int status = CL_SUCCESS;
    const cl::CommandQueue queue(clCreateCommandQueue(context, device, 0, &status));
    cl::check_call(status, "clCreateCommandQueue");
    cl::Program program;
    if (binary.empty() || load_program(context, device, text, std::as_bytes(std::span(binary)), program) != CL_SUCCESS)
      program = build_program(context, device, text, device_name);
    const cl::Function kernel(clCreateKernel(program.get(), std::string(name).c_str(), &status));
    cl::check_call(status, "clCreateKernel");

    const auto head = taken<FirstLaunch::Head>(launch);
    check(head.arguments <= launch.size() / sizeof(FirstLaunch::Argument), Code::kInternal, "a launch ends early");
    std::vector<FirstLaunch::Argument> arguments;
    for (uint64_t i = 0; i < head.arguments; ++i) arguments.push_back(taken<FirstLaunch::Argument>(launch));
    std::vector<cl::Memory> memory;
    for (cl_uint i = 0; i < arguments.size(); ++i) {
      const auto& [value, bytes, content] = arguments[i];
      if (bytes > 0) {
        cl::check_call(clSetKernelArg(kernel.get(), i, bytes, &value), "clSetKernelArg");
        continue;
      }
      check(content <= launch.size(), Code::kInternal, "a launch ends early");
      memory.push_back(memory_of(context, queue.get(), value, launch.substr(0, content)));
      launch.remove_prefix(content);
      const cl_mem object = memory.back().get();
      cl::check_call(clSetKernelArg(kernel.get(), i, sizeof(object), &object), "clSetKernelArg");
    }
    const size_t global[3] = {head.x * head.group, head.y, head.z}, local[3] = {head.group, 1, 1};
    status = clEnqueueNDRangeKernel(queue.get(), kernel.get(), 3, nullptr, global, local, 0, nullptr, nullptr);
    cl::check_call(status, "clEnqueueNDRangeKernel");
    cl::check_call(clFinish(queue.get()), "clFinish");
    return answer_of("launched");
  } catch (const Error& error) {
    return problem_of(error.what());
  }
}

}  // namespace v4rt
