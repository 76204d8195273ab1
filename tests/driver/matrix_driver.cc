// An OpenCL driver for tests, to be loaded by the ICD loader (OCL_ICD_VENDORS=libmatrix_driver.so): one platform with
// one custom device, without a compiler, that has a matrix product built in and nothing else. It computes on the host,
// while a command is enqueued. What a test needs to go wrong comes from the environment:
//   MATRIX_DRIVER_KERNELS  what the device calls its kernels
//   MATRIX_DRIVER_FAULT    product: sums are wrong; enqueue=N: the Nth launch fails
//   MATRIX_DRIVER_LOG      a file for what was done: launches, and the objects that were never released

#define CL_TARGET_OPENCL_VERSION 120
#include <CL/cl.h>
#include <CL/cl_icd.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <vector>

// What the loader finds behind every handle.
struct Object {
  const cl_icd_dispatch* dispatch;
  std::atomic<int> references{1};
  Object();
  ~Object();
};

struct _cl_platform_id : Object {};
struct _cl_device_id : Object {};
struct _cl_context : Object {};
struct _cl_command_queue : Object {
  cl_context context = nullptr;
};
struct _cl_mem : Object {
  std::shared_ptr<std::vector<std::byte>> memory;  // shared with its parts
  size_t at = 0, bytes = 0;
  bool is_part = false;
  std::byte* data() const { return memory->data() + at; }
};
struct _cl_program : Object {};
struct _cl_kernel : Object {
  cl_mem buffers[3] = {};
  cl_uint sizes[3] = {};
  uint32_t set = 0;
};
struct _cl_event : Object {};

namespace {

constexpr cl_uint kArguments = 6, kTile = 16;
constexpr size_t kAlignment = 128, kMemory = size_t{1} << 30, kLargest = size_t{256} << 20;

std::string_view setting(const char* name, std::string_view otherwise = "") {
  const char* value = std::getenv(name);
  return value != nullptr ? std::string_view(value) : otherwise;
}
std::string_view kernel_name() { return setting("MATRIX_DRIVER_KERNELS", "pocl.sgemm.local.f32"); }

std::atomic<int> live_objects{0}, launches{0};

// Written when the process ends.
struct Log {
  ~Log() {
    const std::string path(setting("MATRIX_DRIVER_LOG"));
    std::FILE* file = path.empty() ? nullptr : std::fopen(path.c_str(), "w");
    if (file == nullptr) return;
    std::fprintf(file, "launches %d\nlive objects %d\n", launches.load(), live_objects.load());
    std::fclose(file);
  }
} log_at_end;

template <class T>
cl_int retain(T* object) {
  ++object->references;
  return CL_SUCCESS;
}
template <class T>
cl_int release(T* object) {
  if (--object->references == 0) delete object;
  return CL_SUCCESS;
}

// The answer to a query, as clGet*Info gives them.
struct Answer {
  size_t size;
  void* value;
  size_t* needed;

  cl_int bytes(const void* from, size_t n) const {
    if (needed != nullptr) *needed = n;
    if (value == nullptr) return CL_SUCCESS;
    if (size < n) return CL_INVALID_VALUE;
    std::memcpy(value, from, n);
    return CL_SUCCESS;
  }
  template <class T>
  cl_int of(const T& answer) const {
    return bytes(&answer, sizeof(T));
  }
  cl_int text(std::string_view answer) const { return bytes(std::string(answer).c_str(), answer.size() + 1); }
};

template <class T>
T* made(T* object, cl_int* status) {
  if (status != nullptr) *status = CL_SUCCESS;
  return object;
}
template <class T>
T* refused(cl_int why, cl_int* status) {
  if (status != nullptr) *status = why;
  return nullptr;
}

// Every command is done when its call returns.
cl_int done(cl_event* event) {
  if (event != nullptr) *event = new _cl_event;
  return CL_SUCCESS;
}

bool within(cl_mem memory, size_t at, size_t bytes) { return at <= memory->bytes && bytes <= memory->bytes - at; }

cl_platform_id platform();
cl_device_id device();

// Platform and device.

cl_int CL_API_CALL get_platform_info(cl_platform_id, cl_platform_info question, size_t size, void* value,
                                     size_t* needed) {
  const Answer answer{size, value, needed};
  switch (question) {
    case CL_PLATFORM_PROFILE: return answer.text("FULL_PROFILE");
    case CL_PLATFORM_VERSION: return answer.text("OpenCL 1.2 matrix_driver");
    case CL_PLATFORM_NAME: return answer.text("Matrix driver for tests");
    case CL_PLATFORM_VENDOR: return answer.text("v4rt");
    case CL_PLATFORM_EXTENSIONS: return answer.text("cl_khr_icd");
    case CL_PLATFORM_ICD_SUFFIX_KHR: return answer.text("MATRIX");
    default: return CL_INVALID_VALUE;
  }
}

cl_int CL_API_CALL get_device_ids(cl_platform_id, cl_device_type type, cl_uint room, cl_device_id* devices,
                                  cl_uint* count) {
  if (type != CL_DEVICE_TYPE_CUSTOM) return CL_DEVICE_NOT_FOUND;  // all others but this one
  if (count != nullptr) *count = 1;
  if (devices != nullptr && room > 0) *devices = device();
  return CL_SUCCESS;
}

cl_int CL_API_CALL get_device_info(cl_device_id, cl_device_info question, size_t size, void* value, size_t* needed) {
  const Answer answer{size, value, needed};
  switch (question) {
    case CL_DEVICE_TYPE: return answer.of(cl_device_type{CL_DEVICE_TYPE_CUSTOM});
    case CL_DEVICE_NAME: return answer.text("matrix unit");
    case CL_DEVICE_VENDOR: return answer.text("v4rt");
    case CL_DEVICE_VERSION: return answer.text("OpenCL 1.2 matrix_driver");
    case CL_DRIVER_VERSION: return answer.text("1");
    case CL_DEVICE_PROFILE: return answer.text("FULL_PROFILE");
    case CL_DEVICE_EXTENSIONS: return answer.text("");
    case CL_DEVICE_BUILT_IN_KERNELS: return answer.text(kernel_name());
    case CL_DEVICE_PLATFORM: return answer.of(platform());
    case CL_DEVICE_AVAILABLE:
    case CL_DEVICE_ENDIAN_LITTLE: return answer.of(cl_bool{CL_TRUE});
    case CL_DEVICE_COMPILER_AVAILABLE:
    case CL_DEVICE_LINKER_AVAILABLE:
    case CL_DEVICE_HOST_UNIFIED_MEMORY: return answer.of(cl_bool{CL_FALSE});
    case CL_DEVICE_MAX_COMPUTE_UNITS: return answer.of(cl_uint{1});
    case CL_DEVICE_MAX_WORK_GROUP_SIZE: return answer.of(size_t{kTile * kTile});
    case CL_DEVICE_MEM_BASE_ADDR_ALIGN: return answer.of(static_cast<cl_uint>(8 * kAlignment));
    case CL_DEVICE_MAX_MEM_ALLOC_SIZE: return answer.of(cl_ulong{kLargest});
    case CL_DEVICE_GLOBAL_MEM_SIZE: return answer.of(cl_ulong{kMemory});
    case CL_DEVICE_LOCAL_MEM_SIZE: return answer.of(cl_ulong{0});
    case CL_DEVICE_SINGLE_FP_CONFIG: return answer.of(cl_device_fp_config{CL_FP_ROUND_TO_NEAREST});
    default: return CL_INVALID_VALUE;
  }
}

// Contexts, queues, memory.

cl_context CL_API_CALL create_context(const cl_context_properties*, cl_uint n, const cl_device_id* devices,
                                      void(CL_CALLBACK*)(const char*, const void*, size_t, void*), void*,
                                      cl_int* status) {
  if (n != 1 || devices[0] != device()) return refused<_cl_context>(CL_INVALID_DEVICE, status);
  return made(new _cl_context, status);
}

cl_command_queue CL_API_CALL create_queue(cl_context context, cl_device_id, cl_command_queue_properties wanted,
                                          cl_int* status) {
  if (wanted != 0) return refused<_cl_command_queue>(CL_INVALID_QUEUE_PROPERTIES, status);
  auto* queue = new _cl_command_queue;
  queue->context = context;
  return made(queue, status);
}

cl_mem CL_API_CALL create_buffer(cl_context, cl_mem_flags flags, size_t bytes, void* host, cl_int* status) {
  if (bytes == 0 || bytes > kLargest) return refused<_cl_mem>(CL_INVALID_BUFFER_SIZE, status);
  if ((flags & CL_MEM_USE_HOST_PTR) != 0) return refused<_cl_mem>(CL_INVALID_VALUE, status);  // memory of its own only
  auto* memory = new _cl_mem;
  memory->memory = std::make_shared<std::vector<std::byte>>(bytes);
  memory->bytes = bytes;
  if ((flags & CL_MEM_COPY_HOST_PTR) != 0) std::memcpy(memory->data(), host, bytes);
  return made(memory, status);
}

cl_mem CL_API_CALL create_sub_buffer(cl_mem whole, cl_mem_flags, cl_buffer_create_type type, const void* info,
                                     cl_int* status) {
  const auto* region = static_cast<const cl_buffer_region*>(info);
  if (whole->is_part) return refused<_cl_mem>(CL_INVALID_MEM_OBJECT, status);
  if (type != CL_BUFFER_CREATE_TYPE_REGION || region->size == 0 || !within(whole, region->origin, region->size))
    return refused<_cl_mem>(CL_INVALID_VALUE, status);
  if (region->origin % kAlignment != 0) return refused<_cl_mem>(CL_MISALIGNED_SUB_BUFFER_OFFSET, status);
  auto* part = new _cl_mem;
  part->memory = whole->memory;
  part->at = region->origin;
  part->bytes = region->size;
  part->is_part = true;
  return made(part, status);
}

cl_int CL_API_CALL read_buffer(cl_command_queue, cl_mem from, cl_bool, size_t at, size_t bytes, void* to, cl_uint,
                               const cl_event*, cl_event* event) {
  if (!within(from, at, bytes)) return CL_INVALID_VALUE;
  std::memcpy(to, from->data() + at, bytes);
  return done(event);
}

cl_int CL_API_CALL write_buffer(cl_command_queue, cl_mem to, cl_bool, size_t at, size_t bytes, const void* from,
                                cl_uint, const cl_event*, cl_event* event) {
  if (!within(to, at, bytes)) return CL_INVALID_VALUE;
  std::memcpy(to->data() + at, from, bytes);
  return done(event);
}

cl_int CL_API_CALL fill_buffer(cl_command_queue, cl_mem to, const void* pattern, size_t width, size_t at, size_t bytes,
                               cl_uint, const cl_event*, cl_event* event) {
  if (!within(to, at, bytes) || bytes % width != 0) return CL_INVALID_VALUE;
  for (size_t i = 0; i < bytes; i += width) std::memcpy(to->data() + at + i, pattern, width);
  return done(event);
}

cl_int CL_API_CALL copy_buffer(cl_command_queue, cl_mem from, cl_mem to, size_t from_at, size_t to_at, size_t bytes,
                               cl_uint, const cl_event*, cl_event* event) {
  if (!within(from, from_at, bytes) || !within(to, to_at, bytes)) return CL_INVALID_VALUE;
  std::memmove(to->data() + to_at, from->data() + from_at, bytes);
  return done(event);
}

cl_int CL_API_CALL finish(cl_command_queue) { return CL_SUCCESS; }
cl_int CL_API_CALL wait_for_events(cl_uint, const cl_event*) { return CL_SUCCESS; }

// The kernel.

cl_program CL_API_CALL create_program(cl_context, cl_uint, const cl_device_id*, const char* names, cl_int* status) {
  if (names != kernel_name()) return refused<_cl_program>(CL_INVALID_VALUE, status);
  return made(new _cl_program, status);
}

cl_program CL_API_CALL create_program_with_source(cl_context, cl_uint, const char**, const size_t*, cl_int* status) {
  return refused<_cl_program>(CL_INVALID_OPERATION, status);  // no compiler
}

cl_kernel CL_API_CALL create_kernel(cl_program, const char* name, cl_int* status) {
  if (name != kernel_name()) return refused<_cl_kernel>(CL_INVALID_KERNEL_NAME, status);
  return made(new _cl_kernel, status);
}

cl_int CL_API_CALL set_argument(cl_kernel kernel, cl_uint index, size_t size, const void* value) {
  if (index >= kArguments) return CL_INVALID_ARG_INDEX;
  const bool buffer = index < 3;
  if (size != (buffer ? sizeof(cl_mem) : sizeof(cl_uint))) return CL_INVALID_ARG_SIZE;
  std::memcpy(buffer ? static_cast<void*>(&kernel->buffers[index]) : &kernel->sizes[index - 3], value, size);
  kernel->set |= 1u << index;
  return CL_SUCCESS;
}

// From the last k to the first: an order that is nobody else's.
void multiply(const float* a, const float* b, float* c, size_t m, size_t n, size_t k) {
  const float fault = setting("MATRIX_DRIVER_FAULT") == "product" ? 1.0f : 0.0f;
  for (size_t row = 0; row < m; ++row) {
    float* sums = c + row * n;
    std::fill_n(sums, n, fault);
    for (size_t i = k; i-- > 0;) {
      const float weight = a[row * k + i];
      for (size_t column = 0; column < n; ++column) sums[column] += weight * b[i * n + column];
    }
  }
}

cl_int CL_API_CALL launch(cl_command_queue, cl_kernel kernel, cl_uint dimensions, const size_t*, const size_t* global,
                          const size_t* local, cl_uint, const cl_event*, cl_event* event) {
  if (kernel->set != (1u << kArguments) - 1) return CL_INVALID_KERNEL_ARGS;
  const size_t m = kernel->sizes[0], n = kernel->sizes[1], k = kernel->sizes[2];
  if (dimensions != 2 || global[0] != n || global[1] != m || local[0] != kTile || local[1] != kTile)
    return CL_INVALID_WORK_GROUP_SIZE;
  const size_t wanted[] = {m * k, k * n, m * n};
  for (size_t i = 0; i < 3; ++i)
    if (kernel->buffers[i]->bytes < wanted[i] * sizeof(float)) return CL_INVALID_BUFFER_SIZE;
  if (m % kTile != 0 || n % kTile != 0 || k % kTile != 0) return CL_INVALID_GLOBAL_WORK_SIZE;
  if (setting("MATRIX_DRIVER_FAULT") == "enqueue=" + std::to_string(++launches)) return CL_OUT_OF_RESOURCES;
  const auto numbers = [&](size_t i) { return reinterpret_cast<float*>(kernel->buffers[i]->data()); };
  multiply(numbers(0), numbers(1), numbers(2), m, n, k);
  return done(event);
}

cl_int CL_API_CALL get_platform_ids(cl_uint room, cl_platform_id* platforms, cl_uint* count) {
  if (count != nullptr) *count = 1;
  if (platforms != nullptr && room > 0) *platforms = platform();
  return CL_SUCCESS;
}

const cl_icd_dispatch& dispatch() {
  static const cl_icd_dispatch table = [] {
    cl_icd_dispatch t{};
    t.clGetPlatformIDs = get_platform_ids;
    t.clGetPlatformInfo = get_platform_info;
    t.clGetDeviceIDs = get_device_ids;
    t.clGetDeviceInfo = get_device_info;
    t.clRetainDevice = [](cl_device_id) -> cl_int { return CL_SUCCESS; };
    t.clReleaseDevice = [](cl_device_id) -> cl_int { return CL_SUCCESS; };
    t.clCreateContext = create_context;
    t.clRetainContext = retain<_cl_context>;
    t.clReleaseContext = release<_cl_context>;
    t.clCreateCommandQueue = create_queue;
    t.clRetainCommandQueue = retain<_cl_command_queue>;
    t.clReleaseCommandQueue = release<_cl_command_queue>;
    t.clCreateBuffer = create_buffer;
    t.clCreateSubBuffer = create_sub_buffer;
    t.clRetainMemObject = retain<_cl_mem>;
    t.clReleaseMemObject = release<_cl_mem>;
    t.clEnqueueReadBuffer = read_buffer;
    t.clEnqueueWriteBuffer = write_buffer;
    t.clEnqueueFillBuffer = fill_buffer;
    t.clEnqueueCopyBuffer = copy_buffer;
    t.clFlush = finish;
    t.clFinish = finish;
    t.clWaitForEvents = wait_for_events;
    t.clReleaseEvent = release<_cl_event>;
    t.clCreateProgramWithBuiltInKernels = create_program;
    t.clCreateProgramWithSource = create_program_with_source;
    t.clReleaseProgram = release<_cl_program>;
    t.clCreateKernel = create_kernel;
    t.clReleaseKernel = release<_cl_kernel>;
    t.clSetKernelArg = set_argument;
    t.clEnqueueNDRangeKernel = launch;
    return t;
  }();
  return table;
}

// They live as long as the process, and are not counted.
cl_platform_id platform() {
  static _cl_platform_id only;
  return &only;
}
cl_device_id device() {
  static _cl_device_id only;
  return &only;
}

}  // namespace

Object::Object() : dispatch(&::dispatch()) { ++live_objects; }
Object::~Object() { --live_objects; }

extern "C" {

__attribute__((visibility("default"))) cl_int CL_API_CALL clIcdGetPlatformIDsKHR(cl_uint room,
                                                                                 cl_platform_id* platforms,
                                                                                 cl_uint* count) {
  return get_platform_ids(room, platforms, count);
}

__attribute__((visibility("default"))) cl_int CL_API_CALL clGetPlatformInfo(cl_platform_id platform,
                                                                            cl_platform_info question, size_t size,
                                                                            void* value, size_t* needed) {
  return get_platform_info(platform, question, size, value, needed);
}

__attribute__((visibility("default"))) void* CL_API_CALL clGetExtensionFunctionAddress(const char* name) {
  const std::string_view wanted(name);
  if (wanted == "clIcdGetPlatformIDsKHR") return reinterpret_cast<void*>(&clIcdGetPlatformIDsKHR);
  return wanted == "clGetPlatformInfo" ? reinterpret_cast<void*>(&clGetPlatformInfo) : nullptr;
}
}
