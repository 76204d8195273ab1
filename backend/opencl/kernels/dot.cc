#include "backend/opencl/kernels/dot.h"

#include <algorithm>
#include <bit>

namespace v4rt {
namespace {

constexpr int64_t kBlock = 32;                          // BLOCK of weights.cl
constexpr int64_t kStageDepth = 128, kRowsAbreast = 2;  // STAGE_DEPTH and ROWS_ABREAST of dot.cl

bool vector_lanes(const OpenclDevice& device) { return device.capabilities().lanes == Lanes::kVector; }

std::string whole(int64_t k, int64_t unit) { return define("WHOLE", int64_t{k % unit == 0}); }

DotTile vector_tile(int tokens, int64_t row_groups) {
  return {.tokens = tokens,
          .row_groups = row_groups,
          .local_bytes =
              static_cast<int64_t>(sizeof(float)) * kStageDepth * (tokens + (tokens > 1 ? 16 * kRowsAbreast : 0)),
          .options = {define("TOKEN_TILE", tokens), define("ROW_TILE", row_groups)}};
}

}  // namespace

std::string dot_file(const OpenclDevice& device, std::string_view family) {
  return fmt::format("{}{}.cl", family, vector_lanes(device) ? "" : "_wide");
}

std::string dot_text(const OpenclDevice& device, std::string_view family) {
  const std::string_view dot = vector_lanes(device) ? "dot.cl" : "wide_dot.cl";
  return fmt::format("{}{}{}", kernel_source("weights.cl").text, kernel_source(dot).text,
                     kernel_source(dot_file(device, family)).text);
}

std::vector<std::string> DotTile::definitions(OpenclDevice& device, DType weight) const {
  std::vector<std::string> all{define("W", weight),
                               define("W_BITS", 8 * info(weight).block_bytes / info(weight).block)};
  all.insert(all.end(), options.begin(), options.end());
  if (has_scale_plane(weight) && device.decodes_by_halves()) all.emplace_back("HALVES=1");
  if (has_scale_plane(weight) && device.capabilities().denormals) all.emplace_back("SUBNORMALS=1");
  if (weight == DType::kFp4 && device.permutes()) all.emplace_back("PERMUTES=1");
  if (device.asks_ahead()) all.emplace_back("ASK_AHEAD=1");
  return all;
}

std::unique_ptr<OpenclFunction> DotTile::function(OpenclDevice& device, std::string_view family, const char* name,
                                                  DType act, DType weight, const std::vector<std::string>& more) const {
  return device.function(dot_file(device, family), std::vector{define("ACT", act)} + definitions(device, weight) + more,
                         name, group);
}

DotTile decode_tile(const OpenclDevice& device, int64_t rows, int64_t k) {
  if (vector_lanes(device)) {
    // A product's sum is a chain of fma: several row groups side by side hide its latency.
    int groups = 4;
    while (groups > 1 && row_groups_of(rows) < groups * static_cast<int64_t>(device.capabilities().compute_units))
      groups /= 2;
    DotTile tile = vector_tile(1, groups);
    tile.options.push_back(whole(k, kBlock));
    return tile;
  }
  // Two work-items share a block of a row group. A long row takes as many rounds as it must, equally large ones; a
  // short one leaves some of a small work-group for other row groups, each of which needs 16 work-items to add its
  // sums.
  const int64_t blocks = std::max<int64_t>(ceil_div(k, kBlock), 1);
  const auto most = static_cast<int64_t>(work_group(device, 256) / 2);
  const auto each = static_cast<uint64_t>(ceil_div(blocks, ceil_div(blocks, most)));
  const auto abreast =
      static_cast<int64_t>(each > 32 ? round_up(each, 16) : std::bit_ceil(std::max<uint64_t>(each, 8)));
  const int64_t row_groups = std::min(ceil_div(64, abreast), most / abreast);
  const int64_t room = abreast * row_groups;  // for blocks
  return {.row_groups = row_groups,
          .group = static_cast<size_t>(2 * room),
          .local_bytes = static_cast<int64_t>(sizeof(float)) * 2 * 16 * room,
          .options = {whole(k, abreast * kBlock), define("ABREAST", abreast)}};
}

DotTile prefill_tile(const OpenclDevice& device, int64_t rows, int64_t k) {
  if (vector_lanes(device)) return vector_tile(32, 8);
  const size_t group = work_group(device, 128);
  const auto tokens = static_cast<int64_t>(group / 4);
  const auto bytes = [&](int64_t quads) {  // STAGE_FLOATS of wide_dot.cl
    return static_cast<int64_t>(sizeof(float)) * kBlock * (64 * quads + 4 + tokens + 4);
  };
  const bool fits = bytes(2) <= static_cast<int64_t>(device.capabilities().local_memory);
  const int64_t quads = rows >= 128 && fits ? 2 : 1;
  return {.tokens = static_cast<int>(tokens),
          .row_groups = 4 * quads,
          .group = group,
          .local_bytes = bytes(quads),
          .options = {whole(k, kBlock), define("QUADS", quads)}};
}

Support is_rows16(const TensorType& weight) {
  return weight.layout == Layout::kRows16 ? Support{} : Support::no("its weight is not in rows16 layout");
}

Support supports_dot(const TensorType& weight, const OpenclDevice& device) {
  if (Support layout = is_rows16(weight); !layout) return layout;
  const int64_t rows = weight.shape[-2], k = weight.shape[-1];
  return fits_local(device,
                    std::max(decode_tile(device, rows, k).local_bytes, prefill_tile(device, rows, k).local_bytes));
}

}  // namespace v4rt
