#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "graph/runtime/model.h"
#include "loaders/checkpoint/checkpoint.h"
#include "loaders/text/tokenizer.h"

namespace v4rt::cli {

// Shared by the commands that run a model.
struct ModelArguments {
  std::string model;
  std::string device = "cpu";
  std::string numbers = "faithful";
  std::vector<std::string> place;
  std::string profile;  // empty: none
  bool strict = false;  // every node on the device that it was meant for
  int64_t context = 0;  // 0: as much as is needed
  int64_t reserve = 0;  // 0: as the library does
  int chunk = 0;        // 0: as the device's memory allows
  int threads = 0;
  int slots = 1;                    // sequences at once
  int draft = 0;                    // tokens to guess
  std::string weight_cache;         // empty: none
  std::vector<std::string> memory;  // bytes of the host, and "DEVICE=BYTES"; empty: what is available
  bool no_mmap = false;
  std::string lanes;     // empty: what suits the device
  std::string launches;  // as lanes
  bool no_cache = false;
  std::string fast;  // auto, always; empty: exact
};

CLI::Option* add_model(CLI::App& command, ModelArguments& arguments);   // the positional MODEL
void add_device_options(CLI::App& command, ModelArguments& arguments);  // --device and what it depends on
void add_plan_options(CLI::App& command, ModelArguments& arguments);    // these, and others that plans depend on
void add_options(CLI::App& command, ModelArguments& arguments);         // these, and how the model runs

void add_draft(CLI::App& command, ModelArguments& arguments);  // --draft
// 0, with a notice, where the checkpoint has no MTP block.
int drafts(const ModelArguments& arguments, const V4Config& config);

std::string cache_folder();                        // XDG_CACHE_HOME/v4rt, else ~/.cache/v4rt; empty if neither is set
std::string model_path(const std::string& model);  // "mini" is the embedded model
Checkpoint open_files(const ModelArguments& arguments);
// The files that a command reads and must not overwrite: those beside the weights, and those of the weight cache.
std::vector<std::string> input_files(const Checkpoint& checkpoint, const ModelArguments& arguments);
std::shared_ptr<const Tokenizer> open_tokenizer(const Checkpoint& checkpoint);

void add_plain(CLI::App& command, bool& plain);  // --plain

// BOS and the text's tokens. Control tokens are recognised unless `plain`; a BOS in the text is not doubled.
std::vector<int32_t> encode_text(const Tokenizer& tokenizer, const std::string& text, const V4Config& config,
                                 bool plain);

ModelOptions model_options(const Checkpoint& checkpoint, const ModelArguments& arguments, int64_t positions);

// `positions`: at least this many are needed. Shows progress.
std::shared_ptr<const Model> open_model(const Checkpoint& checkpoint, const ModelArguments& arguments,
                                        int64_t positions, bool mtp = false);

std::string device_name(const ModelArguments& arguments);  // with the profile
DeviceOptions device_options(const ModelArguments& arguments);
NumberMode number_mode(const ModelArguments& arguments);
Fast fast_mode(const ModelArguments& arguments);

}  // namespace v4rt::cli
