#include <algorithm>

#include "backend/opencl/kernels/attend.h"
#include "backend/opencl/kernels/entries.h"
#include "backend/opencl/kernels/head_tile.h"

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

std::unique_ptr<Kernel> make(const OpCall& call, OpenclDevice& device) {
  const AttendSpec& spec = op_of<Attend>(call).spec;
  const TensorType& q = call.inputs[0];
  const int64_t heads = q.shape[1], dim = q.shape[2], capacity = spec.ratio > 0 ? call.inputs[3].shape[1] : 0;
  const HeadTile tile = head_tile(device, q.shape[0], heads);
  const size_t softmax_group = work_group(device, 256);
  const std::vector<std::string> definitions =
      format_definitions(spec.format) +
      std::vector{define("ACT", q.dtype), define("HEADS", heads), define("ROUNDS", int64_t{spec.rounds})};
  const int64_t slots = most_slots(spec, capacity);
  const int64_t batch = std::clamp<int64_t>(kScratchBytes / (4 * AttendScratch(1, heads, slots).end), 1,
                                            std::max<int64_t>(q.shape[0], 1));
  return make_kernel(
      [scores = device.function("attend_wide.cl", definitions + tile.options(), "attend_scores", tile.group),
       softmax = device.function("attend_wide.cl", definitions, "attend_softmax", softmax_group),
       values = device.function("attend_wide.cl", definitions + tile.options(), "attend_values", tile.group), spec,
       tile, heads, dim, batch, ring_rows = narrow(call.inputs[1].shape[1])](
          OpenclQueue& queue, std::span<const Tensor> args, const Step& step) {
        const AttendBuffers b(spec, args);
        const OpenclMemory scratch = memory_of(*args.back().values);
        const size_t head_tiles = tiles(heads, tile.heads());
        const int32_t window = spec.window, ratio = spec.ratio, top_k = spec.top_k;
        for (int64_t first = 0; first < step.n_rows(); first += batch) {
          const auto rows = step.rows.subspan(static_cast<size_t>(first),
                                              static_cast<size_t>(std::min(batch, step.n_rows() - first)));
          const int32_t last = std::ranges::max(rows, {}, &Row::position).position, row0 = narrow(first);
          const int64_t live_slots = most_slots(spec, ratio > 0 ? (last + 1) / ratio : 0);
          const AttendScratch at(static_cast<int64_t>(rows.size()), heads, live_slots);
          const auto part = [&](int64_t floats) {
            OpenclMemory place = scratch;
            place.offset += static_cast<cl_ulong>(floats) * sizeof(float);
            return place;
          };
          const int32_t pitch = narrow(at.pitch);
          (*scores)(queue, {tiles(live_slots, tile.columns()), head_tiles, rows.size()}, queue.step_table(),
                    args[0].values, args[1].values, entries_of(b.cache, queue), b.idx, scratch, window, ratio, top_k,
                    ring_rows, row0, pitch, spec.scale);
          (*softmax)(queue, {static_cast<size_t>(heads), rows.size()}, queue.step_table(), args[2].values, b.idx,
                     scratch, part(at.factors), part(at.maxima), part(at.sums), part(at.z), window, ratio, top_k,
                     ring_rows, row0, pitch);
          (*values)(queue, {tiles(dim, tile.columns()), head_tiles, rows.size()}, queue.step_table(), args[1].values,
                    entries_of(b.cache, queue), b.idx, scratch, part(at.factors), part(at.z), b.out, window, ratio,
                    top_k, ring_rows, row0, pitch);
        }
      },
      static_cast<size_t>(AttendScratch(batch, heads, slots).end) * sizeof(float));
}

}  // namespace

const OpenclEntry kOpenclAttendWide{OpKind::kAttend, "opencl.attend.wide", supports, make};

}  // namespace v4rt
