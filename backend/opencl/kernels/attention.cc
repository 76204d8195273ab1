#include "ops/attention/attention.h"

#include <algorithm>
#include <cmath>

#include "backend/opencl/kernels/attend.h"
#include "backend/opencl/kernels/entries.h"
#include "backend/opencl/kernels/head_tile.h"
#include "backend/opencl/kernels/row_kernel.h"

namespace v4rt {
namespace {

bool vector_lanes(const OpenclDevice& device) { return device.capabilities().lanes == Lanes::kVector; }

// Local memory that several floats per row element take; half of what there is stays with the driver.
Support fits_rows(const OpCall& call, const OpenclDevice& device, int64_t floats) {
  const Support rows = all_row_major(call);
  return rows ? fits_local(device, floats * 4) : rows;
}

// ---- ring_append, ring_read ----

bool is_numbers(const RowFormat& format) {
  return format.kind == RowFormat::Kind::kF32 || format.kind == RowFormat::Kind::kBF16;
}

Support supports_ring(const OpCall& call, const OpenclDevice& device) {
  const RowFormat& format = op_of<RingAppend>(call).format;
  return fits_rows(call, device, is_numbers(format) ? 0 : format.dim);
}

Support supports_ring_read(const OpCall& call, const OpenclDevice&) { return all_row_major(call); }

std::unique_ptr<Kernel> make_ring_read(const OpCall& call, OpenclDevice& device) {
  const auto& op = op_of<RingRead>(call);
  const std::vector<std::string> act{define("ACT", op.activation)};
  return make_kernel([function = device.function("ring.cl", act + format_definitions(op.format), "ring_read"),
                      ring_rows = narrow(call.inputs[1].shape[1])](OpenclQueue& queue, std::span<const Tensor> args,
                                                                   const Step& step) {
    (*function)(queue, {live_count(step)}, queue.step_table(), args[1].values, args[2].values, ring_rows);
  });
}

std::optional<RowFunction> ring_append(const OpCall& call) {
  const RowFormat& format = op_of<RingAppend>(call).format;
  const int32_t ring_rows = narrow(call.inputs[1].shape[1]);
  if (format.kind == RowFormat::Kind::kF32 && call.inputs[0].dtype == DType::kF32)
    return RowFunction{.file = "ring.cl",
                       .name = "ring_append_numbers_row",
                       .definitions = {},
                       .arguments = {StepTable{}, TensorAt{0}, TensorAt{1}, int32_t{format.dim}, ring_rows}};
  return RowFunction{.file = "ring.cl",
                     .name = "ring_append_row",
                     .definitions = std::vector{define("ACT", call.inputs[0].dtype)} + format_definitions(format),
                     .arguments = {StepTable{}, TensorAt{0}, TensorAt{1}, ring_rows},
                     .local_floats = is_numbers(format) ? 1 : format.dim};
}

// ---- compress_pool ----

Support supports_compress(const OpCall& call, const OpenclDevice& device) {
  return fits_rows(call, device, 3 * op_of<CompressPool>(call).spec.format.dim + 64);
}

std::unique_ptr<Kernel> make_compress(const OpCall& call, OpenclDevice& device) {
  const CompressSpec& spec = op_of<CompressPool>(call).spec;
  const std::vector<std::string> definitions =
      format_definitions(spec.format) + std::vector{define("RATIO", spec.ratio),
                                                    define("OVERLAP", int64_t{spec.overlap}),
                                                    define("PENDING_ROWS", call.inputs[1].shape[1]),
                                                    define("ROUNDS", int64_t{spec.rounds}),
                                                    define("HADAMARD", int64_t{spec.hadamard}),
                                                    define("NORM", call.inputs[3].dtype)};
  return make_kernel([function = device.function("compress.cl", definitions, "compress_pool",
                                                 work_group(device, spec.format.dim >= 256 ? 256 : 64)),
                      frequencies = device.constant(spec.table.frequencies()), pairs = int32_t{spec.table.dims / 2},
                      eps = spec.eps, ratio = spec.ratio,
                      scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(spec.format.dim)))](
                         OpenclQueue& queue, std::span<const Tensor> args, const Step& step) {
    const auto completes = [ratio](const Row& row) { return (row.position + 1) % ratio == 0; };
    const auto entries = static_cast<size_t>(std::ranges::count_if(step.rows, completes));
    (*function)(queue, {entries}, queue.step_table(), args[0].values, args[1].values, args[2].values, args[3].values,
                frequencies, entries_of(args[4], queue), pairs, eps, scale);
  });
}

// ---- index_select ----

constexpr int64_t kScoreBytes = 64 << 20;  // scratch for the scores of as many rows as fit, one at least

Support supports_index(const OpCall& call, const OpenclDevice& device) {
  const Shape& q = call.inputs[0].shape;
  if (vector_lanes(device)) return fits_rows(call, device, (16 + 8) * q[2] + 512);  // KEYS and HEAD_CHUNK of index.cl
  return fits_rows(call, device, head_tile(device, 2, q[1]).local_bytes() / 4);
}

std::unique_ptr<Kernel> make_index(const OpCall& call, OpenclDevice& device) {
  const IndexSpec& spec = op_of<IndexSelect>(call).spec;
  const TensorType& q = call.inputs[0];
  const std::vector<std::string> choice{define("RATIO", spec.ratio), define("TOP_K", spec.top_k)};
  const std::vector<std::string> definitions =
      format_definitions(spec.format) + choice +
      std::vector{define("ACT", q.dtype), define("HEADS", q.shape[1]), define("ROUNDS", int64_t{spec.rounds})};
  const HeadTile tile = head_tile(device, 2, q.shape[1]);  // keys give work-groups enough, for one row too
  const size_t pick_group = work_group(device, 1024);
  const int64_t capacity = call.inputs[2].shape[1];
  const int64_t batch =
      std::clamp<int64_t>(kScoreBytes / (4 * std::max<int64_t>(capacity, 1)), 1, std::max<int64_t>(q.shape[0], 1));
  return make_kernel(
      [scores = vector_lanes(device)
                    ? device.function("index.cl", definitions, "index_scores")
                    : device.function("index_wide.cl", definitions + tile.options(), "index_scores", tile.group),
       pick = device.function("index_pick.cl", choice, "index_pick", pick_group), spec, batch = narrow(batch),
       pitch = narrow(capacity), keys_per_group = vector_lanes(device) ? int64_t{16} : tile.columns()](
          OpenclQueue& queue, std::span<const Tensor> args, const Step& step) {
        for (int32_t row0 = 0; row0 < step.n_rows(); row0 += batch) {
          const auto rows =
              step.rows.subspan(static_cast<size_t>(row0), static_cast<size_t>(std::min(batch, step.n_rows() - row0)));
          const int32_t last = std::ranges::max(rows, {}, &Row::position).position;
          const int64_t entries = (last + 1) / spec.ratio;
          if (entries > spec.top_k) {
            (*scores)(queue, {tiles(entries, keys_per_group), rows.size()}, queue.step_table(), args[0].values,
                      args[1].values, entries_of(args[2], queue), args[4].values, row0, pitch, spec.weight_scale);
          }
          (*pick)(queue, {rows.size()}, queue.step_table(), args[4].values, args[3].values, row0, pitch);
        }
      },
      static_cast<size_t>(std::max<int64_t>(batch * capacity, 1)) * sizeof(float));
}

// ---- attend, on vector lanes ----

int64_t head_lanes(int64_t heads) { return heads > 8 ? 16 : (heads > 4 ? 8 : 4); }

// Decoded rows held at once: a block of 64 where local memory has room for it.
int64_t row_chunk(const OpenclDevice& device, int64_t dim) {
  return std::clamp<int64_t>(static_cast<int64_t>(device.capabilities().local_memory) / (dim * 4), 1, 64);
}

Support supports_attend(const OpCall& call, const OpenclDevice& device) {
  if (!vector_lanes(device)) return Support::no("its lanes are work-items");
  return fits_rows(call, device, call.inputs[0].shape[2]);
}

std::unique_ptr<Kernel> make_attend(const OpCall& call, OpenclDevice& device) {
  const AttendSpec& spec = op_of<Attend>(call).spec;
  const TensorType& q = call.inputs[0];
  const int64_t lanes = head_lanes(q.shape[1]);
  const std::vector<std::string> definitions =
      format_definitions(spec.format) +
      std::vector{define("ACT", q.dtype), define("HEADS", q.shape[1]), define("HEAD_LANES", lanes),
                  define("ROW_CHUNK", row_chunk(device, q.shape[2])), define("ROUNDS", int64_t{spec.rounds})};
  return make_kernel([function = device.function("attend.cl", definitions, "attend"), spec,
                      head_tiles = tiles(q.shape[1], lanes), ring_rows = narrow(call.inputs[1].shape[1])](
                         OpenclQueue& queue, std::span<const Tensor> args, const Step& step) {
    const AttendBuffers b(spec, args);
    (*function)(queue, {live_count(step), head_tiles}, queue.step_table(), args[0].values, args[1].values,
                args[2].values, entries_of(b.cache, queue), b.idx, b.out, int32_t{spec.window}, int32_t{spec.ratio},
                int32_t{spec.top_k}, ring_rows, spec.scale);
  });
}

}  // namespace

const OpenclEntry kOpenclRingAppend{OpKind::kRingAppend, "opencl.ring_append", supports_ring,
                                    make_row_kernel<ring_append>};
const RowOpEntry kRowRingAppend{OpKind::kRingAppend, ring_append};
const OpenclEntry kOpenclRingRead{OpKind::kRingRead, "opencl.ring_read", supports_ring_read, make_ring_read};
const OpenclEntry kOpenclCompressPool{OpKind::kCompressPool, "opencl.compress_pool", supports_compress, make_compress};
const OpenclEntry kOpenclIndexSelect{OpKind::kIndexSelect, "opencl.index_select", supports_index, make_index};
const OpenclEntry kOpenclAttend{OpKind::kAttend, "opencl.attend", supports_attend, make_attend};

}  // namespace v4rt
