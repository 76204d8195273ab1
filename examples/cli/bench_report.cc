#include "examples/cli/bench_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "examples/cli/format.h"
#include "ops/core/human.h"

namespace v4rt::cli {
namespace {

using Json = nlohmann::ordered_json;
using Cells = std::vector<std::vector<std::string>>;

constexpr double kGiga = 1e9;

// The speed of a run, or of the launches of one op in it.
struct Rates {
  double gbs, gflops;
};

Rates rates(double bytes, double flops, double seconds) {
  return seconds > 0 ? Rates{bytes / seconds / kGiga, flops / seconds / kGiga} : Rates{0, 0};
}

Rates rates(const Measurement& m) { return rates(m.touched.memory_bytes(), m.touched.flops, m.median_seconds()); }
Rates rates(const OpTime& op) { return rates(op.touched.all_bytes(), op.touched.flops, op.seconds); }

// The roofline: which limit an op meets, and how close its time comes to it.
struct Limit {
  bool memory;
  double share;
};

// Units for bf16 have no use for a matrix of f32, nor for a model that is f32 throughout.
bool numbers_are_bf16(const BenchReport& report, const OpTime& op) {
  return report.mode == "faithful" && !op.op.ends_with(" f32");
}

std::optional<Limit> limit(const BenchReport& report, const OpTime& op) {
  if (!report.machine || report.machine->read_gbs <= 0 || op.seconds <= 0) return {};
  const double memory = op.touched.all_bytes() / (report.machine->read_gbs * kGiga);
  const double peak = numbers_are_bf16(report, op) ? report.machine->best_bf16_gflops() : report.machine->f32_gflops;
  const double compute = op.touched.flops / (peak * kGiga);
  return Limit{memory >= compute, std::max(memory, compute) / op.seconds};
}

std::string title(const BenchReport& report, const Measurement& m) {
  const std::string_view fast = !m.fast ? "" : report.fast == "always" ? " (--fast=always)" : " (--fast)";
  if (m.kind == "prefill") return fmt::format("prefill {}{}", m.tokens, fast);
  const std::string tokens =
      m.sequences > 1 ? fmt::format("{} x {}", m.sequences, m.tokens / m.sequences) : fmt::format("{}", m.tokens);
  const std::string draft =
      m.draft > 0 ? fmt::format(", {} guessed, {:.0f} % right", m.draft, 100 * m.accept) : std::string();
  return fmt::format("decode {} at {}{}{}", tokens, m.depth, m.synthetic ? " (state made up)" : "", draft);
}

double read_share(const Measurement& m) { return m.share_of(&DeviceSpeed::read_gbs, m.touched.memory_bytes() / kGiga); }
double peak_share(const Measurement& m) { return m.share_of(&DeviceSpeed::f32_gflops, m.touched.flops / kGiga); }
double matrix_share(const Measurement& m) { return m.share_of(&DeviceSpeed::matrix_gflops, m.touched.flops / kGiga); }

std::string percent(double part, double whole) { return whole > 0 ? fmt::format("{:.1f} %", 100 * part / whole) : "-"; }

std::string machine_text(const BenchReport& report) {
  if (!report.machine) return "limits not measured: " + report.machine_note;
  const DeviceSpeed& m = *report.machine;
  const std::string threads =
      report.threads > 0 ? fmt::format(" of {} thread{}", report.threads, report.threads == 1 ? "" : "s") : "";
  std::string text = fmt::format(
      "limits{}, measured between the runs: reading {:.2f} GB/s (sums over {}), {:.1f} GFLOP/s (f32 fma in registers)",
      threads, m.read_gbs, human_bytes(m.buffer_bytes), m.f32_gflops);
  if (m.bf16_gflops > 0) text += fmt::format(", {:.1f} GFLOP/s (bf16 pairs)", m.bf16_gflops);
  if (m.matrix_gflops > 0) text += fmt::format(", {:.1f} GFLOP/s (bf16 tiles of the matrix unit)", m.matrix_gflops);
  return text;
}

std::string heading(const BenchReport& r) {
  const auto size = [](int64_t bytes) { return human_bytes(bytes); };
  const auto& use = r.huge_pages;
  const std::string huge_pages =
      use ? fmt::format(", {} of {} memory in huge pages", size(use->in_huge_pages), size(use->bytes)) : "";
  return fmt::format("{} on {} ({}), {}, chunks of {}, median of {}, commit {}{}", r.model, r.device, r.description,
                     r.mode, r.chunk, r.repetitions, r.commit, huge_pages);
}

// How many times as fast as without --fast.
double over_exact(const BenchReport& report, const Measurement& m) {
  const Measurement* exact = report.exact_of(m);
  return exact == nullptr ? 0 : exact->median_seconds() / m.median_seconds();
}

constexpr std::string_view kRunAlignment = "<>>>>>>>>>";

Cells run_cells(const BenchReport& report) {
  Cells cells = {{"run", "tokens/s", "min .. max", "bytes/token", "GB/s", "of reading", "GFLOP/s", "of peak",
                  "of matrix unit", "over exact"}};
  for (const Measurement& m : report.measurements) {
    const std::vector<double> speeds = m.tokens_per_s();
    const auto [least, most] = std::minmax_element(speeds.begin(), speeds.end());
    const Rates r = rates(m);
    const auto shown = [](double share) { return share > 0 ? percent(share, 1) : "-"; };
    cells.push_back(
        {title(report, m), fmt::format("{:.2f}", median(speeds)), fmt::format("{:.2f} .. {:.2f}", *least, *most),
         human_bytes(m.touched.memory_bytes() / static_cast<double>(m.tokens)), fmt::format("{:.2f}", r.gbs),
         shown(read_share(m)), fmt::format("{:.1f}", r.gflops), shown(peak_share(m)), shown(matrix_share(m)),
         m.fast ? fmt::format("{:.2f}", over_exact(report, m)) : "-"});
  }
  return cells;
}

constexpr std::string_view kOpAlignment = "<>>>>><>";

// The last line is the sum.
Cells op_cells(const BenchReport& report, const Measurement& m) {
  Cells cells = {{"op", "launches", "us/token", "share", "GB/s", "GFLOP/s", "limit", "of limit"}};
  OpTime total{.op = "total"};
  for (const OpTime& op : m.ops) {
    total.launches += op.launches;
    total.seconds += op.seconds;
    total.touched += op.touched;
  }
  const auto add = [&](const OpTime& op) {
    const Rates r = rates(op);
    const std::optional<Limit> l = limit(report, op);
    cells.push_back({op.op, fmt::format("{}", op.launches),
                     fmt::format("{:.2f}", 1e6 * op.seconds / static_cast<double>(m.tokens)),
                     percent(op.seconds, total.seconds), fmt::format("{:.2f}", r.gbs), fmt::format("{:.1f}", r.gflops),
                     !l          ? "-"
                     : l->memory ? "memory"
                                 : "compute",
                     l ? percent(l->share, 1) : "-"});
  };
  for (const OpTime& op : m.ops) add(op);
  add(total);
  return cells;
}

std::string op_heading(const BenchReport& report, const Measurement& m) {
  return fmt::format("{}, launch by launch ({:.2f} us/token when it runs in one go):", title(report, m),
                     1e6 * m.median_seconds() / static_cast<double>(m.tokens));
}

std::string markdown_table(const Cells& rows, std::string_view alignment) {
  std::string text;
  for (size_t i = 0; i < rows.size(); ++i) {
    text += fmt::format("| {} |\n", fmt::join(rows[i], " | "));
    if (i > 0) continue;
    for (const char c : alignment) text += c == '>' ? "|---:" : "|---";
    text += "|\n";
  }
  return text;
}

Json share(double part, double whole) { return whole > 0 ? Json(part / whole) : Json(nullptr); }
Json measured(double figure) { return figure > 0 ? Json(figure) : Json(nullptr); }

Json spread(std::vector<double> values) {
  const auto [least, most] = std::minmax_element(values.begin(), values.end());
  return {{"median", median(values)}, {"min", *least}, {"max", *most}};
}

Json to_json(const BenchReport& report, const OpTime& op, double total_seconds) {
  const Rates r = rates(op);
  const std::optional<Limit> l = limit(report, op);
  return {{"op", op.op},
          {"launches", op.launches},
          {"seconds", op.seconds},
          {"share", share(op.seconds, total_seconds)},
          {"weight_bytes", op.touched.weight_bytes},
          {"state_bytes", op.touched.state_bytes},
          {"io_bytes", op.touched.io_bytes},
          {"flops", op.touched.flops},
          {"gbs", r.gbs},
          {"gflops", r.gflops},
          {"limit", l ? Json(l->memory ? "memory" : "compute") : Json(nullptr)},
          {"limit_share", l ? Json(l->share) : Json(nullptr)},
          {"layers", op.layers}};
}

Json to_json(const BenchReport& report, const Measurement& m) {
  const auto tokens = static_cast<double>(m.tokens);
  const Rates r = rates(m);
  Json json = {{"kind", m.kind},
               {"tokens", m.tokens},
               {"depth", m.depth},
               {"sequences", m.sequences},
               {"draft", m.draft},
               {"accept", m.accept},
               {"synthetic_state", m.synthetic},
               {"fast", m.fast},
               {"seconds", m.seconds},
               {"tokens_per_s", spread(m.tokens_per_s())},
               {"weight_bytes_per_token", m.touched.weight_bytes / tokens},
               {"state_bytes_per_token", m.touched.state_bytes / tokens},
               {"io_bytes_per_token", m.touched.io_bytes / tokens},
               {"flops_per_token", m.touched.flops / tokens},
               {"gbs", r.gbs},
               {"read_share", measured(read_share(m))},
               {"gflops", r.gflops},
               {"peak_share", measured(peak_share(m))},
               {"matrix_share", measured(matrix_share(m))}};
  if (m.fast) json["over_exact"] = measured(over_exact(report, m));
  for (const DeviceSpeed& speed : m.machine) {
    json["read_gbs_around"].push_back(speed.read_gbs);
    json["peak_gflops_around"].push_back(speed.f32_gflops);
    json["matrix_gflops_around"].push_back(speed.matrix_gflops);
  }
  if (m.ops.empty()) return json;
  double total = 0;
  for (const OpTime& op : m.ops) total += op.seconds;
  json["ops"] = Json::array();
  for (const OpTime& op : m.ops) json["ops"].push_back(to_json(report, op, total));
  return json;
}

}  // namespace

const Measurement* BenchReport::first(std::string_view kind) const {
  const auto found =
      std::find_if(measurements.begin(), measurements.end(), [&](const Measurement& m) { return m.kind == kind; });
  return found == measurements.end() ? nullptr : &*found;
}

const Measurement* BenchReport::exact_of(const Measurement& fast) const {
  const auto found = std::find_if(measurements.begin(), measurements.end(), [&](const Measurement& m) {
    return !m.fast && m.kind == fast.kind && m.tokens == fast.tokens;
  });
  return found == measurements.end() ? nullptr : &*found;
}

std::string to_text(const BenchReport& report) {
  std::string text = heading(report) + "\n" + machine_text(report) + "\n\n";
  text += table(run_cells(report), std::string(kRunAlignment));
  for (const Measurement& m : report.measurements) {
    if (m.ops.empty()) continue;
    text += fmt::format("\n{}\n\n{}", op_heading(report, m), table(op_cells(report, m), std::string(kOpAlignment)));
  }
  return text;
}

std::string to_markdown(const BenchReport& report) {
  std::string text = heading(report) + "; " + machine_text(report) + ".\n\n";
  text += markdown_table(run_cells(report), kRunAlignment);
  for (const Measurement& m : report.measurements) {
    if (m.ops.empty()) continue;
    text += fmt::format("\n{}\n\n{}", op_heading(report, m), markdown_table(op_cells(report, m), kOpAlignment));
  }
  return text;
}

Json to_json(const BenchReport& report) {
  const auto of = [&](std::string_view kind, const auto& figure) {
    const Measurement* m = report.first(kind);
    return m == nullptr ? Json(nullptr) : Json(figure(*m));
  };
  const auto speed = [](const Measurement& m) { return median(m.tokens_per_s()); };
  const DeviceSpeed machine = report.machine.value_or(DeviceSpeed{});
  Json json = {
      {"model", report.model},
      {"device", report.device},
      {"description", report.description},
      {"threads", report.threads > 0 ? Json(report.threads) : Json(nullptr)},
      {"mode", report.mode},
      {"chunk", report.chunk},
      {"repetitions", report.repetitions},
      {"commit", report.commit},
      {"prefill_tokens_per_s", of("prefill", speed)},
      {"prefill_gflops", of("prefill", [](const Measurement& m) { return rates(m).gflops; })},
      {"decode_tokens_per_s", of("decode", speed)},
      {"decode_depth", of("decode", [](const Measurement& m) { return m.depth; })},
      {"decode_bytes_per_token",
       of("decode", [](const Measurement& m) { return m.touched.memory_bytes() / static_cast<double>(m.tokens); })},
      {"decode_gbs", of("decode", [](const Measurement& m) { return rates(m).gbs; })},
      {"read_gbs", measured(machine.read_gbs)},
      {"peak_gflops", measured(machine.f32_gflops)},
      {"peak_bf16_gflops", measured(machine.bf16_gflops)},
      {"peak_matrix_gflops", measured(machine.matrix_gflops)}};
  const auto fast =
      std::find_if(report.measurements.begin(), report.measurements.end(), [](const Measurement& m) { return m.fast; });
  if (fast != report.measurements.end()) json["fast_prefill_tokens_per_s"] = speed(*fast);
  if (!report.machine_note.empty()) json["limits_note"] = report.machine_note;
  if (report.huge_pages) {
    json["memory_bytes"] = report.huge_pages->bytes;
    json["huge_page_bytes"] = report.huge_pages->in_huge_pages;
  }
  json["runs"] = Json::array();
  for (const Measurement& m : report.measurements) json["runs"].push_back(to_json(report, m));
  return json;
}

}  // namespace v4rt::cli
