#include "backend/conformance/check.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>

#include "backend/conformance/case.h"
#include "examples/cli/command.h"
#include "examples/cli/format.h"
#include "examples/cli/interrupt.h"
#include "examples/cli/model_options.h"
#include "examples/cli/option_checks.h"
#include "examples/cli/output_file.h"
#include "examples/cli/terminal.h"
#include "graph/runtime/profiles.h"
#include "loaders/text/utf8.h"

namespace v4rt::cli {
namespace {

struct CheckArguments {
  ModelArguments device;  // of it what a device needs
  std::vector<std::string> ops;
  double seconds = 0;  // 0: no limit
  std::string output;
  bool json = false;
};

struct Verdict {
  enum class Kind : uint8_t { kSameBits, kWrong, kRefused, kFailed, kNotRun };
  Kind kind = Kind::kNotRun;
  std::string name, op;
  std::vector<std::string> details;  // what is wrong, or the reason
};

std::string_view name_of(Verdict::Kind kind) {
  constexpr std::array<std::string_view, 5> kNames = {"same bits", "wrong", "refused", "failed", "not run"};
  return kNames[static_cast<size_t>(kind)];
}

struct Findings {
  DeviceInfo device;
  std::vector<Verdict> verdicts;

  int64_t count(Verdict::Kind kind, std::string_view op = {}) const {
    return std::ranges::count_if(verdicts,
                                 [&](const Verdict& v) { return v.kind == kind && (op.empty() || v.op == op); });
  }
};

Verdict check_one(Device& device, const Case& c) {
  Verdict verdict{.name = c.name, .op = std::string(name(c.op->kind()))};
  try {
    verdict.details = check_case(device, c);
    verdict.kind = verdict.details.empty() ? Verdict::Kind::kSameBits : Verdict::Kind::kWrong;
  } catch (const Error& e) {
    verdict.kind = e.code() == Code::kUnsupported ? Verdict::Kind::kRefused : Verdict::Kind::kFailed;
    verdict.details = {e.what()};
  }
  return verdict;
}

// The cases of the ops that were asked for.
std::vector<Case> chosen_cases(const CheckArguments& a) {
  std::vector<Case> cases = all_cases();
  const auto is_op = [&](std::string_view op) {
    return std::ranges::any_of(cases, [&](const Case& c) { return name(c.op->kind()) == op; });
  };
  for (const std::string& op : a.ops)
    if (!is_op(op)) throw UsageError(fmt::format("--ops {}: there is no such op; 'v4rt explain mini' shows them", op));
  if (!a.ops.empty())
    std::erase_if(cases, [&](const Case& c) { return std::ranges::find(a.ops, name(c.op->kind())) == a.ops.end(); });
  return cases;
}

Findings check_device(const CheckArguments& a, Device& device) {
  const std::vector<Case> cases = chosen_cases(a);
  Findings findings{.device = device.info(), .verdicts = {}};
  const double begin = seconds_since_start();
  Progress progress("checking");
  for (size_t i = 0; i < cases.size(); ++i) {
    if (InterruptGuard::raised()) throw Interrupted();
    if (a.seconds > 0 && seconds_since_start() - begin > a.seconds) {
      findings.verdicts.push_back({.name = cases[i].name, .op = std::string(name(cases[i].op->kind())), .details = {}});
      continue;
    }
    progress.update(static_cast<double>(i) / static_cast<double>(cases.size()), cases[i].name);
    findings.verdicts.push_back(check_one(device, cases[i]));
  }
  return findings;
}

std::string to_text(const Findings& f) {
  using Kind = Verdict::Kind;
  std::string text =
      fmt::format("{}\n  {}\n  features  {}\n\n", f.device.name, escaped(f.device.description),
                  f.device.features.empty() ? "none" : fmt::format("{}", fmt::join(f.device.features, ", ")));
  if (!f.device.subnormals) text += "It takes subnormal numbers for zero: inputs that hold some are left out.\n\n";
  std::vector<std::vector<std::string>> cells = {{"op", "same bits", "wrong", "refused", "failed", "not run"}};
  std::vector<std::string> ops;
  for (const Verdict& v : f.verdicts)
    if (std::ranges::find(ops, v.op) == ops.end()) ops.push_back(v.op);
  ops.emplace_back();  // all of them
  for (const std::string& op : ops) {
    cells.push_back({op.empty() ? "all" : op});
    for (const Kind kind : {Kind::kSameBits, Kind::kWrong, Kind::kRefused, Kind::kFailed, Kind::kNotRun})
      cells.back().push_back(fmt::format("{}", f.count(kind, op)));
  }
  text += table(cells, "<>>>>>");
  for (const Verdict& v : f.verdicts) {
    if (v.kind == Kind::kSameBits || v.kind == Kind::kNotRun) continue;
    text += fmt::format("\n{}: {}\n", v.name, name_of(v.kind));
    for (const std::string& detail : v.details) text += fmt::format("  {}\n", escaped_lines(detail));
  }
  return text;
}

nlohmann::ordered_json to_json(const Findings& f) {
  nlohmann::ordered_json cases = nlohmann::ordered_json::array();
  for (const Verdict& v : f.verdicts)
    cases.push_back({{"case", v.name}, {"op", v.op}, {"verdict", name_of(v.kind)}, {"details", v.details}});
  return {{"version", version_text()},
          {"device", f.device.name},
          {"description", f.device.description},
          {"memory_bytes", f.device.memory},
          {"max_allocation_bytes", f.device.max_allocation},
          {"features", f.device.features},
          {"subnormals", f.device.subnormals},
          {"same_bits", f.count(Verdict::Kind::kSameBits)},
          {"cases", std::move(cases)}};
}

int check(const CheckArguments& a) {
  check_output();
  const InterruptGuard interrupt(InterruptGuard::Mode::kOnce);  // from here on a file would be left behind
  std::optional<OutputFile> file;
  if (!a.output.empty()) file.emplace(a.output, std::vector<std::string>());
  const auto device = create_profiled_device(device_name(a.device), device_options(a.device));
  const Findings findings = check_device(a, *device);
  const std::string json = json_text(to_json(findings));
  if (file) {
    file->append(std::as_bytes(std::span(json)));
    file->commit();
  }
  print(a.json ? json : to_text(findings));
  const bool wrong = findings.count(Verdict::Kind::kWrong) + findings.count(Verdict::Kind::kFailed) > 0;
  return wrong ? kFailure : kSuccess;
}

}  // namespace

void add_check(CLI::App& app, Action& action) {
  auto arguments = std::make_shared<CheckArguments>();
  CheckArguments& a = *arguments;
  CLI::App* command = app.add_subcommand(
      "check",
      "Whether a device computes what v4rt defines: every op in many shapes, also with NaN, infinities and subnormal\n"
      "numbers, beside the reference, bit for bit. Exit status 1 where something is wrong; what a device refuses runs\n"
      "elsewhere.");
  add_device_options(*command, a.device);
  command->add_option("--ops", a.ops, "Only these, as in linear,attend")->delimiter(',')->allow_extra_args(false);
  command->add_option("--seconds", a.seconds, "Begin no case after so many seconds (default: run all)")
      ->transform(between(0.0, 1e9));
  command->add_option("-o,--output", a.output, "Also write all findings as JSON to this file, to attach to a report")
      ->check(nonempty());
  command->add_flag("--json", a.json, "Print JSON");
  command->callback([arguments, &action] { action = [arguments] { return check(*arguments); }; });
}

}  // namespace v4rt::cli
