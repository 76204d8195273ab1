// model.safetensors.index.json, beside two shards with the tensors a, b and c.

#include "loaders/safetensors/safetensors.h"
#include "tests/fuzz/target.h"
#include "tests/support/safetensors_writer.h"

namespace v4rt::fuzz {

void read(std::string_view input) {
  static const TempFolder folder;
  [[maybe_unused]] static const std::string shards[] = {
      folder.write("model-00001-of-00002.safetensors",
                   safetensors_bytes({{"a", "U8", {2}, "aa"}, {"b", "U8", {1}, "b"}})),
      folder.write("model-00002-of-00002.safetensors", safetensors_bytes({{"c", "F32", {1}, "cccc"}}))};
  folder.write("model.safetensors.index.json", std::string(input));
  const auto set = SafetensorsSet::open(folder.path());
  require(!set->tensors().empty() && set->tensors().size() <= 3, "tensors that no shard has");
  for (const StoredTensor& tensor : set->tensors()) {
    require(set->files().at(tensor.file)->contains(tensor.bytes), "a tensor outside its file");
    require(set->find(tensor.name) == &tensor, "a tensor that is not found by its name");
  }
}

}  // namespace v4rt::fuzz
