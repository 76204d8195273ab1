#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "backend/registry.h"
#include "graph/model/v4_model.h"
#include "graph/plan/plan.h"
#include "graph/runtime/memory_check.h"
#include "loaders/checkpoint/weight_source.h"

namespace v4rt {

struct ModelOptions {
  std::string device = "cpu";
  std::vector<std::pair<std::string, std::string>> place;  // {node glob, device name}
  DeviceOptions device_options;
  // For programs with devices of their own: maps a name in `device` or `place` to a device. Empty:
  // create_profiled_device(name, device_options), for which "cpu+mobile-gpu" is a cpu as a profile would have it.
  std::function<std::shared_ptr<Device>(std::string_view name)> find_device;
  // A folder where weights that a device wants in another layout are stored, to be mapped from then on: opening is
  // nearly instant the second time, and the model may be larger than memory. Takes as much disk as those weights.
  // Empty: none.
  std::string weight_cache;
  // How users of the program ask for such a folder ("--weight-cache DIR"), for a message when memory is short.
  std::string weight_cache_hint = "set ModelOptions::weight_cache to a folder";
  size_t memory = 0;  // bytes of host memory that the model may take; 0: all that are available
  // {device name, bytes}: what the model and one session may take of a device, if that is less than it has. What does
  // not fit moves to the next device that `place` names for it, or any other; Plan::refusals say what, and why.
  std::vector<std::pair<std::string, size_t>> device_memory;
  NumberMode numbers = NumberMode::kFaithful;
  int64_t context = 4096;  // positions per sequence that there is memory for, or open() fails
  // Positions per sequence that state is allocated for at once. From there it grows as sequences do, between steps; on
  // the cpu the system gives pages as they are used.
  int64_t reserve = 4096;
  // Tokens of the chunk plan; the results do not depend on it. 0: as many as pay, 2048, or fewer where the context or
  // memory is short: working memory takes an eighth of a device's at most.
  int chunk = 0;
  int slots = 1;   // sequences per session
  int rewind = 8;  // positions that a sequence can always go back by; takes as many rows per layer
  // Tokens that Session::draft() guesses at most, 0 to 4, by the MTP block. 0: none, and nothing is kept for it.
  int draft = 0;
  bool mtp = false;  // build the MTP block too (the checkpoint must have one)
  std::function<void(std::string_view what, double done)> progress;  // long work, done in [0, 1]; may be empty
};

// A checkpoint on devices: weights bound once, plans compiled once. Immutable and shared by many sessions.
//
// Weights that a device takes as they are stay in mapped files for as long as the model lives. Replacing a file by
// another of its name does no harm. Writing to it changes numbers: the next call that asks for logits throws. If it is
// cut short, the process gets SIGBUS where the missing pages are read, as with any mapped file; the library handles no
// signals. If you cannot rule that out, open the checkpoint with FileAccess::kRead.
class Model {
 public:
  // Throws Error: wrong weights (names the tensor), an unknown device, a context that memory does not allow (says how
  // much it would take), weights that memory does not allow (before any is loaded), a device that refuses a node.
  static std::shared_ptr<const Model> open(std::shared_ptr<const WeightSource> weights, const ModelOptions& options);
  ~Model();

  // What open() and one session would allocate on each device. Allocates none of it.
  static std::vector<DeviceNeed> memory_needed(std::shared_ptr<const WeightSource> weights,
                                               const ModelOptions& options);

  const V4Config& config() const;
  const ModelOptions& options() const;  // with the chunk that was chosen

  // Plans: one token, one chunk, or anything between. Made on first use and kept, by any thread; open() makes the two
  // that feed() needs and, for mtp, score()'s.
  const Plan& plan(int tokens, LogitsOf logits) const;

  size_t weight_bytes() const;  // that the plans use, after repacking; mapped ones included
  size_t state_bytes() const;   // of one session
  size_t arena_bytes() const;   // of one session

  struct Impl;
  Impl& impl() const { return *impl_; }  // for Session

 private:
  Model();
  std::unique_ptr<Impl> impl_;
};

}  // namespace v4rt
