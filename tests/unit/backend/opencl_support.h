#pragma once

#include <gtest/gtest.h>

#include <concepts>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "backend/opencl/opencl_device.h"
#include "tests/support/op_runner.h"

namespace v4rt {

// The first OpenCL device of the machine; nullptr if there is none. `change` changes its capabilities.
inline std::shared_ptr<OpenclDevice> test_opencl(const std::string& cache_dir = {}) {
  const std::vector<OpenclSite> sites = find_opencl_sites().sites;
  if (sites.empty()) return nullptr;
  return std::make_shared<OpenclDevice>(sites[0], query_capabilities(sites[0]), "opencl:0", cache_dir);
}

template <std::invocable<Capabilities&> Change>
std::shared_ptr<OpenclDevice> test_opencl(const Change& change) {
  const std::vector<OpenclSite> sites = find_opencl_sites().sites;
  if (sites.empty()) return nullptr;
  Capabilities capabilities = query_capabilities(sites[0]);
  change(capabilities);
  return std::make_shared<OpenclDevice>(sites[0], capabilities, "opencl:0", "");
}

inline BufferPtr uploaded(Device& device, Queue& queue, std::span<const std::byte> bytes) {
  BufferPtr buffer = device.allocate(bytes.size());
  queue.upload(*buffer, 0, bytes);
  return buffer;
}

inline std::vector<std::byte> downloaded(Queue& queue, const BufferPtr& buffer) {
  std::vector<std::byte> bytes(buffer->bytes());
  queue.download(bytes, *buffer, 0);
  return bytes;
}

// Bytes of the outputs of `op` on the device, one segment of all rows of the first input.
inline std::vector<std::vector<std::byte>> run_on(Device& device, const Op& op, const std::vector<TestTensor>& inputs,
                                                  int32_t position = 0) {
  const auto queue = device.create_queue();
  std::vector<TensorType> types;
  std::vector<Tensor> args;
  for (const TestTensor& input : inputs) {
    types.push_back(input.type);
    args.push_back({input.type, uploaded(device, *queue, input.values), nullptr});
    if (!input.scales.empty()) args.back().scales = uploaded(device, *queue, input.scales);
  }
  const std::vector<TensorType> outputs = op.infer(types);
  const auto kernel = device.compile({op, types, outputs});
  std::vector<BufferPtr> results;
  for (const TensorType& type : outputs) {
    args.push_back({type, device.allocate(type.bytes()),
                    has_scale_plane(type.dtype) ? device.allocate(type.scale_bytes()) : nullptr});
    results.push_back(args.back().values);
    if (args.back().scales != nullptr) results.push_back(args.back().scales);
  }
  if (kernel->scratch_bytes > 0) {
    const TensorType scratch{DType::kU8, Shape{static_cast<int64_t>(kernel->scratch_bytes)}};
    args.push_back({scratch, device.allocate(kernel->scratch_bytes), nullptr});
  }
  const Segment segment{0, position, static_cast<int32_t>(types[0].shape[0])};
  std::vector<Row> rows(static_cast<size_t>(segment.n_tokens));
  fill_rows(std::span(&segment, 1), rows);
  const Step step{std::span(&segment, 1), rows};
  queue->begin(step);
  queue->launch(*kernel, args, step);
  std::vector<std::vector<std::byte>> bytes;
  for (const BufferPtr& result : results) bytes.push_back(downloaded(*queue, result));
  return bytes;
}

// A directory that is removed after the test.
class TemporaryDirectory {
 public:
  TemporaryDirectory()
      : path_(std::filesystem::temp_directory_path() /
              ("v4rt-test-" + std::to_string(getpid()) + "-" + std::to_string(serial()++))) {
    std::filesystem::create_directories(path_);
  }
  ~TemporaryDirectory() { std::filesystem::remove_all(path_); }
  std::string path() const { return path_.string(); }
  std::vector<std::filesystem::path> files() const {
    std::vector<std::filesystem::path> list;
    for (const auto& entry : std::filesystem::directory_iterator(path_)) list.push_back(entry.path());
    return list;
  }

 private:
  static int& serial() {
    static int next = 0;
    return next;
  }
  std::filesystem::path path_;
};

}  // namespace v4rt
