#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "loaders/checkpoint/weight_source.h"
#include "loaders/weight_file/weight_file.h"
#include "ops/core/hash.h"

namespace v4rt {

// Weights of one checkpoint in the layouts of devices, in files of a folder: written once, and mapped from then on.
//
// Each file holds the weights that were missing when the model was opened: first those of the usual plans, later
// perhaps the MTP block's. A damaged or foreign file is not used, and written again. Several processes may share a
// folder: one writes and the others wait; files in use stay intact, because a new file only takes over the name.
class WeightCache {
 public:
  struct Found {
    WeightFile::Planes planes;
    std::shared_ptr<const void> owner;
  };

  // Makes the folder if necessary. Throws Error if that fails, or if the weights do not come from files. Reads the
  // headers of existing files, and checks some of their weights.
  WeightCache(std::string folder, const std::optional<WeightIdentity>& identity);

  void check_intact() const;  // throws Error when a file that is in use was changed

  std::optional<Found> find(std::string_view name, const TensorType& type) const;

  // Adds what find() does not have: once no other process writes, `lacking` says what that is, and `fill` writes it.
  // Throws Error if the folder cannot be written, or has no room.
  using Lacking = std::function<std::vector<NewWeight>()>;
  using Fill = std::function<void(WeightFileWriter& writer)>;
  struct Telling {
    std::function<void()> waiting;              // now and then, while another process writes
    std::function<void(double done)> checking;  // the share that has been read back
  };
  void complete(const Lacking& lacking, const Fill& fill, const Telling& telling);

 private:
  static constexpr size_t kFiles = 16;

  std::string path(size_t file) const;
  void open(bool complain);
  void write(std::vector<NewWeight> weights, const Fill& fill, const std::function<void(double)>& checking);
  void remove_unfinished() const;

  std::string folder_;
  std::string name_;
  Hash key_;
  std::vector<std::shared_ptr<const WeightFile>> files_;  // null: missing or not usable
};

}  // namespace v4rt
