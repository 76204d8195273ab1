#include "loaders/checkpoint/checkpoint.h"

#include <algorithm>
#include <map>
#include <set>

#include "loaders/checkpoint/checkpoint_source.h"
#include "loaders/files/json_file.h"
#include "ops/core/error.h"

namespace v4rt {
namespace {

// The tensors of a file under their official names, and those that have none.
struct Sorted {
  OfficialTensors tensors;
  std::vector<const StoredTensor*> unknown;
  std::string mtp_note;  // why mtp.* is not the classic block; empty if it may be
  bool officially_named = true;
};

bool is_mtp(std::string_view name) {
  if (name.starts_with("model.")) name.remove_prefix(6);
  return name.starts_with("mtp.");
}

// Tables that follow from the configuration; some writers store them.
bool harmless(std::string_view name) { return name.ends_with("inv_freq") || name.ends_with("freqs_cis"); }

// One line about a drafter that is not the classic MTP block (checkpoints.md section 1.6); empty for tensors of that
// block.
std::string later_drafter(std::string_view name) {
  const size_t number = name.find("mtp.") + 4;
  const bool later = name.substr(number, 2) != "0." || name.substr(number + 2).starts_with("main_proj");
  if (later) return fmt::format("later drafter ({}): not the classic MTP block", printable(name));
  return {};
}

class Sorter {
 public:
  explicit Sorter(const SafetensorsSet& set) : set_(set) {}

  Sorted sort() {
    for (const StoredTensor& t : set_.tensors()) {
      if (!harmless(t.name)) place(t);
    }
    return std::move(out_);
  }

 private:
  // A tensor that only later drafters have tells us more than an unknown one.
  void note_mtp(std::string_view name, bool known) {
    const std::string drafter = later_drafter(name);
    if (!drafter.empty() && !drafter_seen_) out_.mtp_note = drafter;
    drafter_seen_ = drafter_seen_ || !drafter.empty();
    if (!known && out_.mtp_note.empty())
      out_.mtp_note = fmt::format("'{}' is no tensor of the classic MTP block", printable(name));
  }

  void place(const StoredTensor& t) {
    const auto name = translate(t.name);
    const bool mtp = is_mtp(t.name);
    if (mtp) note_mtp(t.name, name.has_value());
    if (!name) {
      if (!mtp) out_.unknown.push_back(&t);
    } else {
      out_.officially_named = out_.officially_named && name->spelled_officially;
      StoredWeight& weight = out_.tensors[name->official];
      const StoredTensor*& slot = name->is_scale ? weight.scales : weight.values;
      if (slot != nullptr)
        fail(Code::kCorrupt, "{}: and '{}' both spell {}; keep one", set_.describe(t), printable(slot->name),
             name->official);
      slot = &t;
    }
  }

  const SafetensorsSet& set_;
  Sorted out_;
  bool drafter_seen_ = false;
};

bool has_values(const Sorted& sorted, const std::string& name) {
  const auto found = sorted.tensors.find(name);
  return found != sorted.tensors.end() && found->second.values != nullptr;
}

// Decides about the MTP block by the tensors that are there, whatever num_nextn_predict_layers says. A block that
// cannot be used is removed from the list, and the reason is returned.
std::optional<std::string> settle_mtp(Sorted& sorted, V4Config& config) {
  const auto is_block = [](const auto& entry) { return is_mtp(entry.first); };
  const bool any = !sorted.mtp_note.empty() || std::any_of(sorted.tensors.begin(), sorted.tensors.end(), is_block);
  if (!any) return std::nullopt;
  std::string note = sorted.mtp_note;
  if (note.empty() && (!has_values(sorted, "mtp.0.e_proj.weight") || !has_values(sorted, "mtp.0.h_proj.weight"))) {
    note = "mtp.0 without e_proj and h_proj: not the classic MTP block";
  }
  const int ratio = config.layer_ratio(config.num_layers);
  if (note.empty() && ratio != 0)
    note = fmt::format("mtp.0 with compress ratio {}: the classic MTP block is a sliding-window layer", ratio);
  config.has_mtp = note.empty();
  if (config.has_mtp) return std::nullopt;
  std::erase_if(sorted.tensors, is_block);
  return note;
}

// First few of `names`, for a message.
std::string some(const std::vector<std::string>& names) {
  std::string text;
  for (size_t i = 0; i < std::min<size_t>(names.size(), 4); ++i) text += (i == 0 ? "" : ", ") + names[i];
  if (names.size() > 4) text += ", ...";
  return text;
}

std::string counted(size_t tensors) { return fmt::format("{} tensor{}", tensors, tensors == 1 ? "" : "s"); }

void check_complete(const std::vector<std::string>& missing, const std::vector<std::string>& unknown,
                    const std::string& path) {
  if (missing.empty()) return;
  const std::string hint =
      unknown.empty() ? "fetch the missing files, or the config.json that belongs to the weights"
                      : fmt::format("{} of unknown name, such as '{}'", counted(unknown.size()), unknown.front());
  fail(Code::kNotFound, "{}: {} missing ({}); {}", path, counted(missing.size()), some(missing), hint);
}

void check_nothing_unknown(const std::vector<std::string>& unknown, const std::string& path) {
  if (unknown.empty()) return;
  const bool memory = std::any_of(unknown.begin(), unknown.end(),
                                  [](const std::string& name) { return name.find("gram") != std::string::npos; });
  fail(Code::kUnsupported, "{}: {} not part of the model that config.json describes ({}); {}", path,
       counted(unknown.size()), some(unknown),
       memory ? "n-gram memory belongs to DeepSeek-V4.1, which is not supported"
              : "running without them would give other results than the release");
}

// The tensors that are not in `used`, by the names they have in the file.
std::vector<std::string> left_over(const Sorted& sorted, const std::vector<std::string>& used) {
  const std::set<std::string_view> taken(used.begin(), used.end());
  std::vector<std::string> names;
  names.reserve(sorted.unknown.size());
  for (const StoredTensor* t : sorted.unknown) names.push_back(printable(t->name));
  for (const auto& [official, stored] : sorted.tensors) {
    if (taken.count(official) == 0)
      names.push_back(printable((stored.values != nullptr ? stored.values : stored.scales)->name));
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::vector<WeightLayout> lay_out_all(const V4Config& config, const Sorted& sorted, const SafetensorsSet& set,
                                      const std::string& path) {
  std::vector<WeightLayout> layouts;
  std::vector<std::string> missing, used;
  for (const WeightInfo& info : v4_weights(config))
    layouts.push_back(lay_out(info, sorted.tensors, set, missing, used));
  const std::vector<std::string> unknown = left_over(sorted, used);
  check_complete(missing, unknown, path);
  check_nothing_unknown(unknown, path);
  return layouts;
}

std::vector<TensorSummary> summarise(const SafetensorsSet& set) {
  std::map<StoredType, TensorSummary> by_type;
  for (const StoredTensor& t : set.tensors()) {
    TensorSummary& row = by_type[t.type];
    row.dtype = spelling(t.type);
    ++row.tensors;
    row.bytes += static_cast<int64_t>(t.bytes.size());
  }
  std::vector<TensorSummary> rows;
  for (auto& [type, row] : by_type) rows.push_back(std::move(row));
  std::sort(rows.begin(), rows.end(), [](const TensorSummary& a, const TensorSummary& b) { return a.bytes > b.bytes; });
  return rows;
}

// A text ends at what either file names; the release's end token where neither does.
void settle_end_tokens(V4Config& config, const std::optional<GenerationConfig>& generation) {
  std::vector<int32_t>& ids = config.eos_token_ids;
  if (generation) {
    for (const int32_t id : generation->eos_token_ids)
      if (std::find(ids.begin(), ids.end(), id) == ids.end()) ids.push_back(id);
  }
  if (ids.empty()) ids = {std::min<int32_t>(1, static_cast<int32_t>(config.vocab_size) - 1)};
}

}  // namespace

namespace {

Checkpoint read_checkpoint(const std::shared_ptr<const SafetensorsSet>& set, const std::string& path) {
  V4Config config = read_v4_config(set->source());
  Sorted sorted = Sorter(*set).sort();
  Checkpoint checkpoint;
  checkpoint.generation = read_generation_config(set->source(), config.vocab_size);
  settle_end_tokens(config, checkpoint.generation);
  checkpoint.mtp_note = settle_mtp(sorted, config);
  checkpoint.weights = std::make_shared<CheckpointSource>(config, set, lay_out_all(config, sorted, *set, path));
  checkpoint.folder = set->source().folder();
  checkpoint.container = set->container();
  checkpoint.naming = sorted.officially_named ? "official" : "transformers";
  checkpoint.tensors = summarise(*set);
  for (const auto& file : set->files()) checkpoint.file_bytes += static_cast<int64_t>(file->bytes().size());
  return checkpoint;
}

}  // namespace

Checkpoint open_checkpoint(const std::string& path, FileAccess access) {
  return read_checkpoint(SafetensorsSet::open(path, access), path);
}

Checkpoint open_checkpoint(std::shared_ptr<const FileSource> files) {
  return read_checkpoint(SafetensorsSet::open(std::move(files)), "the given files");
}

}  // namespace v4rt
