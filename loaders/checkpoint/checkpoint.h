#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "loaders/checkpoint/generation_config.h"
#include "loaders/checkpoint/weight_source.h"
#include "loaders/files/file_source.h"

namespace v4rt {

struct TensorSummary {
  std::string dtype;  // as the file spells it: "F8_E4M3"
  int64_t tensors = 0;
  int64_t bytes = 0;
};

// A model on disk: weights mapped, configuration read and checked. The tokenizer is opened separately
// (loaders/text/tokenizer.h), since not every use needs one.
struct Checkpoint {
  std::shared_ptr<const WeightSource> weights;
  std::string folder;                  // where tokenizer.json should be; empty: the files are not in one
  std::string container;               // "safetensors, 2 shards with index"
  std::string naming;                  // "official" or "transformers"
  std::vector<TensorSummary> tensors;  // by dtype, largest first
  int64_t file_bytes = 0;
  std::optional<GenerationConfig> generation;  // empty: there is no generation_config.json
  std::optional<std::string> mtp_note;  // why a drafter in the file is not used: "later drafter (mtp.0.main_proj...)"
};

// `path`: a folder (model.safetensors, model.safetensors.index.json, or model-*-of-*.safetensors without an index) or
// one .safetensors file. config.json is read from the same folder, and generation_config.json if there is one: a text
// ends at the end tokens of either. Throws Error naming file, tensor, fact and way out.
Checkpoint open_checkpoint(const std::string& path, FileAccess access = FileAccess::kMap);
Checkpoint open_checkpoint(std::shared_ptr<const FileSource> files);  // the same for files that are not in a folder

}  // namespace v4rt
