// A safetensors file.

#include "loaders/safetensors/safetensors.h"

#include "tests/fuzz/target.h"

namespace v4rt::fuzz {

void read(std::string_view input) {
  const auto file = std::as_bytes(std::span(input.data(), input.size()));
  size_t taken = 8, sum = 0;
  for (int i = 7; i >= 0; --i) sum = sum << 8 | (input.size() < 8 ? 0 : std::to_integer<size_t>(file[size_t(i)]));
  const auto tensors = parse_safetensors(file, "model.safetensors");
  taken += sum;
  for (const StoredTensor& tensor : tensors) {
    taken += tensor.bytes.size();
    for (const std::byte b : tensor.bytes) sum += std::to_integer<size_t>(b);  // a view outside the file ends here
  }
  require(taken == input.size(), "header and tensors are not the whole file");
  require(sum != ~size_t{0}, "bytes were not read");
}

}  // namespace v4rt::fuzz
