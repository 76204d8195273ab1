#include "ops/attention/attention.h"

#include <algorithm>
#include <cmath>

#include "backend/opencl/kernels/attend.h"
#include "backend/opencl/kernels/entries.h"
#include "backend/opencl/kernels/head_tile.h"
#include "backend/opencl/kernels/tail.h"

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

std::optional<RowFunction> compress_pool(const OpCall& call) {
  const auto& op = op_of<CompressPool>(call);
  const CompressSpec& spec = op.spec;
  const auto scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(spec.format.dim)));
  return RowFunction{
      .file = "compress.cl",
      .name = "compress_pool_row",
      .definitions =
          format_definitions(spec.format) +
          std::vector{define("RATIO", spec.ratio), define("OVERLAP", int64_t{spec.overlap}),
                      define("PENDING_ROWS", call.inputs[1].shape[1]), define("ROUNDS", int64_t{spec.rounds}),
                      define("HADAMARD", int64_t{spec.hadamard}), define("NORM", call.inputs[3].dtype)},
      .arguments = {StepTable{}, TensorAt{0}, TensorAt{1}, TensorAt{2}, TensorAt{3}, Table(op.frequencies),
                    EntriesAt{4}, int32_t{spec.table.dims / 2}, spec.eps, scale},
      .every = spec.ratio,
      .local_floats = 64 + 3 * int64_t{spec.format.dim},
      .group = row_group(4 * int64_t{spec.format.dim})};
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

class AttendKernel final : public OpenclKernel {
 public:
  AttendKernel(const OpCall& call, OpenclDevice& device, Tail tail = {})
      : spec_(op_of<Attend>(call).spec),
        tail_(std::move(tail)),
        function_([this, &device, q = call.inputs[0]] {
          const std::vector<std::string> definitions =
              format_definitions(spec_.format) + std::vector{define("ACT", q.dtype), define("HEADS", q.shape[1]),
                                                             define("HEAD_LANES", head_lanes(q.shape[1])),
                                                             define("ROW_CHUNK", row_chunk(device, q.shape[2])),
                                                             define("ROUNDS", int64_t{spec_.rounds})};
          return tail_.function(device, kernel_source("attend.cl"), definitions, "attend", 1);
        }),
        head_tiles_(tiles(call.inputs[0].shape[1], head_lanes(call.inputs[0].shape[1]))),
        ring_rows_(narrow(call.inputs[1].shape[1])) {}

  void ask_for_programs() const override { (void)function_.get(); }

  void enqueue(OpenclQueue& queue, std::span<const Tensor> args, const Step& step) const override {
    const AttendBuffers b(spec_, args);
    function_.get()(queue, {live_count(step), head_tiles_}, queue.step_table(), args[0].values, args[1].values,
                    args[2].values, entries_of(b.cache, queue), b.idx, b.out, int32_t{spec_.window},
                    int32_t{spec_.ratio}, int32_t{spec_.top_k}, ring_rows_, spec_.scale,
                    tail_.arguments(queue, args).all());
  }

 private:
  AttendSpec spec_;
  Tail tail_;
  AskedFunction function_;
  size_t head_tiles_;
  int32_t ring_rows_;
};

std::unique_ptr<Kernel> make_attend(const OpCall& call, OpenclDevice& device) {
  return std::make_unique<AttendKernel>(call, device);
}

Lead lead_attend(std::span<const JoinedCall> calls, const OpenclDevice& device) {
  const OpCall& call = calls[0].call;
  if (call.op.kind() != OpKind::kAttend || call.inputs[0].shape[0] != 1 || !supports_attend(call, device)) return {};
  const int64_t heads = call.inputs[0].shape[1], dim = call.inputs[0].shape[2];
  return {.ops = 1,
          .tensors = call.inputs.size() + call.outputs.size(),
          .group = "get_group_id(1)",
          .of = {{.stripe_columns = head_lanes(heads) * dim, .columns = heads * dim}},
          .act = define("ACT", call.inputs[0].dtype),
          .arguments = arguments_of(8, 7),
          .items = 1,
          .local_bytes = 4 * dim * row_chunk(device, dim)};
}

std::unique_ptr<Kernel> make_lead_attend(std::span<const JoinedCall> calls, OpenclDevice& device, Tail tail) {
  return std::make_unique<AttendKernel>(calls[0].call, device, std::move(tail));
}

}  // namespace

const LeadEntry kLeadAttend{lead_attend, make_lead_attend};
const OpenclEntry kOpenclRingAppend{OpKind::kRingAppend, "opencl.ring_append", supports_ring, make_row_kernel};
const RowOpEntry kRowRingAppend{OpKind::kRingAppend, ring_append};
const OpenclEntry kOpenclRingRead{OpKind::kRingRead, "opencl.ring_read", supports_ring_read, make_ring_read};
const OpenclEntry kOpenclCompressPool{OpKind::kCompressPool, "opencl.compress_pool", supports_compress,
                                      make_row_kernel};
const RowOpEntry kRowCompressPool{OpKind::kCompressPool, compress_pool};
const OpenclEntry kOpenclIndexSelect{OpKind::kIndexSelect, "opencl.index_select", supports_index, make_index};
const OpenclEntry kOpenclAttend{OpKind::kAttend, "opencl.attend", supports_attend, make_attend};

}  // namespace v4rt
