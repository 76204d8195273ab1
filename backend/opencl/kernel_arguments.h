#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace v4rt {

// The program text in which every `__global T* x` that a KERNEL takes is two arguments, a buffer and a byte offset into
// it, and x a pointer made of them. Tensors share buffers, and parts of one cannot always be arguments: sub-buffers
// that overlap crash NVIDIA's driver, and all of them must start at multiples of up to 512 bytes.
std::string with_buffer_offsets(std::string_view source);

// What a function takes whose text goes on from `head`, which ends with '('.
struct Parameter {
  std::string type, name;  // "__global const float*", "x"
  bool restricted = false;
};
std::vector<Parameter> parameters_of(std::string_view source, std::string_view head);

// The program text without KERNELs of other names, for a driver compiles what is there.
std::string with_one_kernel(std::string_view source, std::string_view name);

// The program text in which KERNELs of that name take further arguments, each with a comma before it, and end with the
// statements.
std::string with_end(std::string_view source, std::string_view name, std::string_view arguments,
                     std::string_view statements);

}  // namespace v4rt
