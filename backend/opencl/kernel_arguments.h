#pragma once

#include <string>
#include <string_view>

namespace v4rt {

// The program text in which every `__global T* x` that a KERNEL takes is two arguments, a buffer and a byte offset into
// it, and x a pointer made of them. Tensors share buffers, and parts of one cannot always be arguments: sub-buffers
// that overlap crash NVIDIA's driver, and all of them must start at multiples of up to 512 bytes.
std::string with_buffer_offsets(std::string_view source);

// The program text without KERNELs of other names, for a driver compiles what is there.
std::string with_one_kernel(std::string_view source, std::string_view name);

}  // namespace v4rt
