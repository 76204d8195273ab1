#include "backend/opencl/id_reader.h"

#include <fmt/format.h>

#include "backend/opencl/kernels.h"
#include "ops/core/arith.h"

namespace v4rt {
namespace {

constexpr std::byte kNoneByte{0x7f};
constexpr int32_t kNone = 0x7f7f7f7f;
constexpr int64_t kEach = 64;  // ids of a work-group

template <class T>
T value_of(cl_mem memory, cl_mem_info question, std::string_view device) {
  T value{};
  // NOLINTNEXTLINE(bugprone-sizeof-expression): objects are pointers
  const cl_int status = clGetMemObjectInfo(memory, question, sizeof(T), &value, nullptr);
  check(status == CL_SUCCESS, Code::kInvalidArgument, "{}: the host's memory of ids: {}", device,
        cl::error_name(status));
  return value;
}

}  // namespace

IdReader::IdReader(OpenclDevice& device, OpenclQueue& queue, int64_t vocabulary)
    : device_name_(device.info().name),
      context_(device.context()),
      queue_(queue),
      vocabulary_(narrow(vocabulary)),
      take_(device.function("ids.cl", {}, "take_ids")),
      wrong_(device.allocate(sizeof(int32_t))) {}

void IdReader::check(const OpenclIds& ids) const {
  const auto memory = static_cast<cl_mem>(ids.memory);
  v4rt::check(value_of<cl_context>(memory, CL_MEM_CONTEXT, device_name_) == context_ &&
                  value_of<cl_mem_object_type>(memory, CL_MEM_TYPE, device_name_) == CL_MEM_OBJECT_BUFFER,
              Code::kInvalidArgument, "{}: the host's memory of ids is no buffer of the model's context", device_name_);
  const auto bytes = value_of<size_t>(memory, CL_MEM_SIZE, device_name_);
  const bool fits = ids.offset <= bytes && static_cast<uint64_t>(ids.n) <= (bytes - ids.offset) / sizeof(int32_t);
  v4rt::check(fits && ids.offset % sizeof(int32_t) == 0, Code::kInvalidArgument,
              "{}: {} ids of {} bytes at byte {} of the host's memory, which has {}; the place is a multiple of {}",
              device_name_, ids.n, sizeof(int32_t), ids.offset, bytes, sizeof(int32_t));
}

void IdReader::read(std::span<const Part> parts, Buffer& ids) {
  queue_.fill(*wrong_, kNoneByte);
  for (const auto& [from, to] : parts) {
    const OpenclMemory memory{static_cast<cl_mem>(from.memory), from.offset, next_memory_serial()};
    (*take_)(queue_, {static_cast<size_t>(ceil_div(from.n, kEach))}, memory, memory_of(ids), wrong_, narrow(to),
             narrow(from.n), vocabulary_);
  }
  queue_.ask(*wrong_);
}

int64_t IdReader::wrong() {
  const int32_t first = queue_.answer();
  return first == kNone ? -1 : first;
}

}  // namespace v4rt
