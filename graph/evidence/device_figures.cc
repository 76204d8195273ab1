#include "graph/evidence/device_figures.h"

#include <chrono>
#include <limits>
#include <nlohmann/json.hpp>

#include "backend/binary_store.h"
#include "loaders/files/json_fields.h"
#include "ops/norm/norm.h"

namespace v4rt {
namespace {

using nlohmann::json;

constexpr int kPasses = 5, kLaunches = 200;
constexpr size_t kMostBytes = size_t{64} << 20;  // of a copy

// Seconds of the fastest pass.
template <class Work>
double best_time(const Work& work) {
  using Clock = std::chrono::steady_clock;
  double best = std::numeric_limits<double>::infinity();
  for (int pass = 0; pass < kPasses; ++pass) {
    const Clock::time_point begin = Clock::now();
    work();
    best = std::min(best, std::chrono::duration<double>(Clock::now() - begin).count());
  }
  return best;
}

// 0 where the device has no such kernel.
double launch_seconds(Device& device, Queue& queue) {
  const RmsNorm op(1e-6f);
  const std::vector<TensorType> in = {{.dtype = DType::kF32, .shape = {1, 64}}, {.dtype = DType::kF32, .shape = {64}}};
  const std::vector<TensorType> out = op.infer(in);
  if (!device.supports({op, in, out})) return 0;
  const auto kernel = device.compile({op, in, out});
  std::vector<Tensor> args;
  for (const TensorType& type : {in[0], in[1], out[0]}) {
    args.push_back({.type = type, .values = device.allocate(type.bytes()), .scales = nullptr});
    queue.fill(*args.back().values, std::byte{0});
  }
  const Segment segment{0, 0, 1};
  Row row;
  fill_rows({&segment, 1}, {&row, 1});
  const Step step{{&segment, 1}, {&row, 1}};
  queue.begin(step);
  return best_time([&] {
           for (int i = 0; i < kLaunches; ++i) queue.launch(*kernel, args, step);
           queue.finish();
         }) /
         kLaunches;
}

size_t copy_bytes(const DeviceInfo& device) {
  size_t most = kMostBytes;
  if (device.max_allocation > 0) most = std::min(most, device.max_allocation);
  return device.memory > 0 ? std::min(most, device.memory / 4) : most;
}

// Of the figures by name, the same on disk and in memory.
template <class Figures>
auto by_name(Figures& f) {
  return std::array{std::pair{"read_gbs", &f.speed.read_gbs},
                    std::pair{"buffer_bytes", &f.speed.buffer_bytes},
                    std::pair{"f32_gflops", &f.speed.f32_gflops},
                    std::pair{"bf16_gflops", &f.speed.bf16_gflops},
                    std::pair{"matrix_gflops", &f.speed.matrix_gflops},
                    std::pair{"launch_us", &f.launch_us},
                    std::pair{"allocate_gbs", &f.allocate_gbs},
                    std::pair{"upload_gbs", &f.upload_gbs},
                    std::pair{"download_gbs", &f.download_gbs},
                    std::pair{"fp8_gbs", &f.fp8.gbs},
                    std::pair{"fp8_gflops", &f.fp8.gflops},
                    std::pair{"fp4_gbs", &f.fp4.gbs},
                    std::pair{"fp4_gflops", &f.fp4.gflops},
                    std::pair{"bf16_gbs", &f.bf16.gbs},
                    std::pair{"bf16_product_gflops", &f.bf16.gflops}};
}

std::string key_of(const DeviceInfo& device) { return fmt::format("figures\n{}\n\nv4rt figures 2\n", device.name); }

BinaryStore store(const std::string& folder) { return BinaryStore(folder, BinaryStore::kTimes); }

}  // namespace

DeviceFigures measure_figures(Device& device) {
  DeviceFigures figures{.speed = device.measure_speed()};
  const auto queue = device.create_queue();
  figures.launch_us = 1e6 * launch_seconds(device, *queue);

  std::vector<std::byte> host(copy_bytes(device.info()));
  const auto rate = [&](const auto& work) { return static_cast<double>(host.size()) / best_time(work) / 1e9; };
  figures.allocate_gbs = rate([&] {
    const BufferPtr fresh = device.allocate(host.size());
    queue->fill(*fresh, std::byte{0});
    queue->finish();
  });
  const BufferPtr buffer = device.allocate(host.size());
  figures.upload_gbs = rate([&] {
    queue->upload(*buffer, 0, host);
    queue->finish();
  });
  figures.download_gbs = rate([&] { queue->download(host, *buffer, 0); });
  figures.fp8 = measure_products(device, DType::kFp8);
  figures.fp4 = measure_products(device, DType::kFp4);
  figures.bf16 = measure_products(device, DType::kBF16);
  return figures;
}

DeviceFigures described_figures(const std::string& path) {
  const Json object = parse_json(read_text_file(path), path);
  const Fields fields(object, path);
  DeviceFigures figures;
  constexpr double kLeast = 1e-6, kMost = 1e9;
  for (const auto& [name, value] : by_name(figures)) *value = fields.number(name, 0, kMost, 0);
  figures.speed.read_gbs = fields.number("read_gbs", kLeast, kMost);
  figures.speed.f32_gflops = fields.number("f32_gflops", kLeast, kMost);
  fields.check_all_known();
  return figures;
}

void keep_figures(const std::string& folder, const DeviceInfo& device, const DeviceFigures& figures) {
  json object = {{"device", device.description}};
  for (const auto& [name, value] : by_name(figures)) object[name] = *value;
  const std::string text = object.dump();
  const auto bytes = std::as_bytes(std::span(text));
  store(folder).store(key_of(device), {bytes.begin(), bytes.end()});
}

std::optional<DeviceFigures> kept_figures(const std::string& folder, const DeviceInfo& device) {
  const auto bytes = store(folder).load(key_of(device));
  if (!bytes) return std::nullopt;
  const auto* text = reinterpret_cast<const char*>(bytes->data());
  const json object = json::parse(text, text + bytes->size(), nullptr, /*allow_exceptions=*/false);
  if (!object.is_object() || object.value("device", json()) != json(device.description)) return std::nullopt;
  DeviceFigures figures;
  for (const auto& [name, value] : by_name(figures)) {
    if (!object.contains(name) || !object[name].is_number()) return std::nullopt;
    *value = object[name];
  }
  return figures;
}

}  // namespace v4rt
