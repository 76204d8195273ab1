#pragma once

#include <memory>

#include "backend/opencl/opencl_device.h"
#include "backend/registry.h"

namespace v4rt {

class IdReader final : public OpenclIdReader {
 public:
  IdReader(OpenclDevice& device, OpenclQueue& queue, int64_t vocabulary);

  void check(const OpenclIds& ids) const override;
  void read(std::span<const Part> parts, Buffer& ids) override;
  int64_t wrong() override;

 private:
  const std::string device_name_;
  const cl_context context_;
  OpenclQueue& queue_;
  const int32_t vocabulary_;
  const std::unique_ptr<OpenclFunction> take_;
  const BufferPtr wrong_;  // an int32_t, INT32_MAX: none
};

}  // namespace v4rt
