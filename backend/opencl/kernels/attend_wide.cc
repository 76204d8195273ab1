#include <algorithm>

#include "backend/opencl/kernels/attend.h"
#include "backend/opencl/kernels/entries.h"
#include "backend/opencl/kernels/head_tile.h"
#include "backend/opencl/kernels/tail.h"

namespace v4rt {
namespace {

constexpr int64_t kSlots = 64;                // SLOTS of slots.cl
constexpr int64_t kScratchBytes = 128 << 20;  // for as many rows as fit, one at least

// Where the parts of the scratch buffer start, in floats, for `rows` rows of the launch.
struct AttendScratch {
  int64_t pitch, factors, maxima, sums, z, end;

  AttendScratch(int64_t rows, int64_t heads, int64_t slots)
      : pitch(round_up(std::max<int64_t>(slots, 1), kSlots)),
        factors(rows * heads * pitch),
        maxima(factors + rows * pitch / kSlots * round_up(heads, 4)),
        sums(maxima + rows * heads * pitch / kSlots),
        z(sums + rows * heads * pitch / kSlots),
        end(z + rows * heads) {}
};

int64_t most_slots(const AttendSpec& spec, int64_t capacity) {
  return spec.window + (spec.ratio == 0 ? 0 : (spec.top_k > 0 ? spec.top_k : capacity));
}

Support supports(const OpCall& call, const OpenclDevice& device) {
  if (device.capabilities().lanes == Lanes::kVector) return Support::no("its lanes are a vector's");
  if (Support rows = all_row_major(call); !rows) return rows;
  const Shape& q = call.inputs[0].shape;
  return fits_local(device, head_tile(device, q[0], q[1]).local_bytes());
}

class AttendWideKernel final : public OpenclKernel {
 public:
  AttendWideKernel(const OpCall& call, OpenclDevice& device, Tail tail = {})
      : spec_(op_of<Attend>(call).spec),
        heads_(call.inputs[0].shape[1]),
        dim_(call.inputs[0].shape[2]),
        ring_rows_(narrow(call.inputs[1].shape[1])),
        tile_(head_tile(device, call.inputs[0].shape[0], heads_)),
        slots_(most_slots(spec_, spec_.ratio > 0 ? call.inputs[3].shape[1] : 0)),
        batch_(std::clamp<int64_t>(kScratchBytes / (4 * AttendScratch(1, heads_, slots_).end), 1,
                                   std::max<int64_t>(call.inputs[0].shape[0], 1))),
        scratch_(call.inputs.size() + call.outputs.size()),
        tail_(std::move(tail)),
        definitions_(format_definitions(spec_.format) + std::vector{define("ACT", call.inputs[0].dtype),
                                                                    define("HEADS", heads_),
                                                                    define("ROUNDS", int64_t{spec_.rounds})}),
        scores_([this, &device] {
          return device.function("attend_wide.cl", definitions_ + tile_.options(), "attend_scores", tile_.group);
        }),
        softmax_([this, &device] {
          return device.function("attend_wide.cl", definitions_, "attend_softmax", work_group(device, 256));
        }),
        values_([this, &device] {
          return tail_.function(device, kernel_source("attend_wide.cl"), definitions_ + tile_.options(),
                                "attend_values", tile_.group);
        }) {
    scratch_bytes = static_cast<size_t>(AttendScratch(batch_, heads_, slots_).end) * sizeof(float);
  }

  void ask_for_programs() const override {
    for (const AskedFunction* one : {&scores_, &softmax_, &values_}) (void)one->get();
  }

  void enqueue(OpenclQueue& queue, std::span<const Tensor> args, const Step& step) const override {
    const AttendBuffers b(spec_, args);
    const OpenclMemory scratch = memory_of(*args[scratch_].values);
    const size_t head_tiles = tiles(heads_, tile_.heads());
    const int32_t window = spec_.window, ratio = spec_.ratio, top_k = spec_.top_k;
    for (int64_t first = 0; first < step.n_rows(); first += batch_) {
      const auto rows =
          step.rows.subspan(static_cast<size_t>(first), static_cast<size_t>(std::min(batch_, step.n_rows() - first)));
      const int32_t last = std::ranges::max(rows, {}, &Row::position).position, row0 = narrow(first);
      const int64_t live_slots = most_slots(spec_, ratio > 0 ? (last + 1) / ratio : 0);
      const AttendScratch at(static_cast<int64_t>(rows.size()), heads_, live_slots);
      const auto part = [&](int64_t floats) {
        OpenclMemory place = scratch;
        place.offset += static_cast<cl_ulong>(floats) * sizeof(float);
        return place;
      };
      const int32_t pitch = narrow(at.pitch);
      scores_.get()(queue, {tiles(live_slots, tile_.columns()), head_tiles, rows.size()}, queue.step_table(),
                    args[0].values, args[1].values, entries_of(b.cache, queue), b.idx, scratch, window, ratio, top_k,
                    ring_rows_, row0, pitch, spec_.scale);
      softmax_.get()(queue, {static_cast<size_t>(heads_), rows.size()}, queue.step_table(), args[2].values, b.idx,
                     scratch, part(at.factors), part(at.maxima), part(at.sums), part(at.z), window, ratio, top_k,
                     ring_rows_, row0, pitch);
      values_.get()(queue, {tiles(dim_, tile_.columns()), head_tiles, rows.size()}, queue.step_table(), args[1].values,
                    entries_of(b.cache, queue), b.idx, scratch, part(at.factors), part(at.z), b.out, window, ratio,
                    top_k, ring_rows_, row0, pitch, tail_.arguments(queue, args).all());
    }
  }

 private:
  AttendSpec spec_;
  int64_t heads_, dim_;
  int32_t ring_rows_;
  HeadTile tile_;
  int64_t slots_, batch_;
  size_t scratch_;
  Tail tail_;
  std::vector<std::string> definitions_;
  AskedFunction scores_, softmax_, values_;
};

std::unique_ptr<Kernel> make(const OpCall& call, OpenclDevice& device) {
  return std::make_unique<AttendWideKernel>(call, device);
}

Lead lead(std::span<const JoinedCall> calls, const OpenclDevice& device) {
  const OpCall& call = calls[0].call;
  if (call.op.kind() != OpKind::kAttend || call.inputs[0].shape[0] != 1 || !supports(call, device)) return {};
  const int64_t heads = call.inputs[0].shape[1], dim = call.inputs[0].shape[2];
  const HeadTile tile = head_tile(device, 1, heads);
  return {.ops = 1,
          .tensors = call.inputs.size() + call.outputs.size() + 1,
          .group = "get_group_id(0) + get_num_groups(0) * get_group_id(1)",
          .of = {{.stripe_groups = static_cast<uint32_t>(tiles(dim, tile.columns())),
                  .stripe_columns = tile.heads() * dim,
                  .columns = heads * dim}},
          .act = define("ACT", call.inputs[0].dtype),
          .arguments = arguments_of(9, 8),
          .items = tile.group,
          .local_bytes = tile.local_bytes()};
}

std::unique_ptr<Kernel> make_lead(std::span<const JoinedCall> calls, OpenclDevice& device, Tail tail) {
  return std::make_unique<AttendWideKernel>(calls[0].call, device, std::move(tail));
}

}  // namespace

const LeadEntry kLeadAttendWide{lead, make_lead};
const OpenclEntry kOpenclAttendWide{OpKind::kAttend, "opencl.attend.wide", supports, make};

}  // namespace v4rt
