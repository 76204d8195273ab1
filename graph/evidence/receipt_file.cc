#include <cfloat>
#include <cstdint>
#include <nlohmann/json.hpp>

#include "graph/evidence/receipt.h"
#include "loaders/files/json_fields.h"

namespace v4rt {
namespace {

constexpr int kFormat = 1;

nlohmann::ordered_json to_json(const ReceiptRow& row) {
  nlohmann::ordered_json json = {
      {"token", row.token}, {"best", row.best}, {"best_logit", row.best_logit}, {"logits", to_string(row.logits)}};
  if (row.mtp) json["mtp_logits"] = to_string(*row.mtp);
  return json;
}

std::string line(const nlohmann::ordered_json& json) {
  return json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

Hash parse_hash(const Fields& f, std::string_view key) {
  const std::string& text = f.text(key);
  check(text.size() == 32 && text.find_first_not_of("0123456789abcdef") == std::string::npos, Code::kCorrupt,
        "{}: '{}' is {}; expected 32 hexadecimal digits", f.source(), key, printable(text));
  return {std::stoull(text.substr(0, 16), nullptr, 16), std::stoull(text.substr(16), nullptr, 16)};
}

bool parse_flag(const Fields& f, std::string_view key) {
  const Json& value = f.require(key);
  check(value.is_boolean(), Code::kCorrupt, "{}: '{}' is {}; expected true or false", f.source(), key, shown(value));
  return value.boolean();
}

Receipt parse_head(const Fields& f) {
  const int64_t format = f.integer("receipt", 0, INT32_MAX);
  check(format == kFormat, Code::kUnsupported, "{}: a receipt of format {}; this program reads format {}", f.source(),
        format, kFormat);
  const std::string& numbers = f.text("numbers");
  check(numbers == "plain" || numbers == "faithful", Code::kCorrupt, "{}: 'numbers' is {}; expected plain or faithful",
        f.source(), printable(numbers));
  return {.model = f.text("model"),
          .weights = f.text("weights"),
          .numbers = numbers == "plain" ? NumberMode::kPlain : NumberMode::kFaithful,
          .mtp = parse_flag(f, "mtp"),
          .prompt_tokens = f.integer("prompt_tokens", 1, INT64_MAX),
          .program = f.text("program"),
          .devices = f.text("devices"),
          .rows = {}};
}

ReceiptRow parse_row(const Fields& f) {
  ReceiptRow row{.token = static_cast<int32_t>(f.integer("token", 0, INT32_MAX)),
                 .logits = parse_hash(f, "logits"),
                 .mtp = {},
                 .best = static_cast<int32_t>(f.integer("best", 0, INT32_MAX)),
                 .best_logit = static_cast<float>(f.number("best_logit", -FLT_MAX, FLT_MAX))};
  if (f.find("mtp_logits") != nullptr) row.mtp = parse_hash(f, "mtp_logits");
  return row;
}

}  // namespace

std::string to_json_lines(const Receipt& r) {
  std::string text = line({{"receipt", kFormat},
                           {"model", r.model},
                           {"weights", r.weights},
                           {"numbers", r.numbers == NumberMode::kPlain ? "plain" : "faithful"},
                           {"mtp", r.mtp},
                           {"tokens", r.rows.size()},
                           {"prompt_tokens", r.prompt_tokens},
                           {"program", r.program},
                           {"devices", r.devices}});
  for (const ReceiptRow& row : r.rows) text += line(to_json(row));
  return text;
}

Receipt parse_receipt(std::string_view text, const std::string& source) {
  Receipt receipt;
  int64_t rows = 0;
  for (int number = 1; !text.empty(); ++number) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string where = fmt::format("{}: line {}", source, number);
    const Json json = parse_json(text.substr(0, end), where);
    const Fields fields(json, where);
    if (number == 1) {
      receipt = parse_head(fields);
      rows = fields.integer("tokens", receipt.prompt_tokens, INT64_MAX);
    } else {
      receipt.rows.push_back(parse_row(fields));
    }
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  check(rows > 0 && receipt.rows.size() == static_cast<size_t>(rows), Code::kCorrupt,
        "{}: holds {} tokens of {}; the receipt is damaged or cut short", source, receipt.rows.size(), rows);
  return receipt;
}

}  // namespace v4rt
