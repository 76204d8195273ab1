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

// Weights of one checkpoint as devices keep them, in files of a folder: written once, and mapped from then on.
//
// Each file holds what some opening of the model lacked: what the plans of a first one need, later perhaps the MTP
// block. A file that is not what it should be is not used, and written anew. Several processes may use one folder: one
// writes, the others wait for it; files that are in use stay as they are, since new ones take their names.
class WeightCache {
 public:
  struct Found {
    WeightFile::Planes planes;
    std::shared_ptr<const void> owner;
  };

  // Makes the folder where there is none. Throws Error: it cannot be made, or weights that come from no file. Reads
  // headers of files that are there, and some of their weights.
  WeightCache(std::string folder, const std::optional<WeightIdentity>& identity);

  void check_intact() const;  // throws Error when a file that is in use was changed

  std::optional<Found> find(std::string_view name, const TensorType& type) const;

  // Makes what find() lacks: `lacking` is asked once no other process writes, and what it answers is written by `fill`.
  // Throws Error: the folder cannot be written, or has no room.
  using Lacking = std::function<std::vector<NewWeight>()>;
  using Fill = std::function<void(WeightFileWriter& writer)>;
  struct Telling {
    std::function<void()> waiting;              // now and then, while another process writes
    std::function<void(double done)> checking;  // the share of what was written that has been read again
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
  std::vector<std::shared_ptr<const WeightFile>> files_;  // null: not there, or of no use
};

}  // namespace v4rt
