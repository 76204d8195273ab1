#include "bench/needle/plot.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace v4rt::needle {
namespace {

// In pixels.
constexpr double kWidth = 320, kHeight = 180;  // of a panel's field
constexpr double kLeft = 50, kTop = 30, kRight = 20, kBottom = 45, kTitle = 30, kLegend = 150;

// Told apart also by those who see few colours (Okabe and Ito).
constexpr std::array<std::string_view, 7> kColours = {"#0072b2", "#d55e00", "#009e73", "#cc79a7",
                                                      "#56b4e9", "#e69f00", "#000000"};
std::string_view colour(size_t i) { return kColours[i % kColours.size()]; }

std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) out += c == '<' ? "&lt;" : c == '>' ? "&gt;" : c == '&' ? "&amp;" : std::string(1, c);
  return out;
}

std::string text(double x, double y, std::string_view anchor, std::string_view what) {
  return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\">{}</text>\n", x, y, anchor, escaped(what));
}

std::string segment(double x1, double y1, double x2, double y2, std::string_view style) {
  return fmt::format("<line x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\" {}/>\n", x1, y1, x2, y2, style);
}

// The field's corner is (left, top).
std::string field(const Panel& panel, const std::string& x_label, double left, double top) {
  const auto y = [&](double value) { return top + kHeight * (1 - value); };
  std::string out = text(left + kWidth / 2, top - 10, "middle", panel.title);
  for (const int percent : {0, 25, 50, 75, 100}) {
    const double share = percent / 100.0;
    out += segment(left, y(share), left + kWidth, y(share), "stroke=\"#ddd\"");
    out += text(left - 6, y(share) + 4, "end", fmt::format("{} %", percent));
    out += text(left + kWidth * share, top + kHeight + 16, "middle", fmt::format("{} %", percent));
  }
  out += text(left + kWidth / 2, top + kHeight + 34, "middle", x_label);
  if (panel.chance > 0)
    out += segment(left, y(panel.chance), left + kWidth, y(panel.chance), "stroke=\"#888\" stroke-dasharray=\"4 4\"");
  for (size_t i = 0; i < panel.lines.size(); ++i) {
    const std::vector<double>& values = panel.lines[i].values;
    std::string points;
    for (size_t k = 0; k < values.size(); ++k) {
      const double share = values.size() > 1 ? static_cast<double>(k) / static_cast<double>(values.size() - 1) : 0.5;
      points += fmt::format("{:.1f},{:.1f} ", left + kWidth * share, y(values[k]));
    }
    out += fmt::format("<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"2\"/>\n", points, colour(i));
  }
  return out;
}

}  // namespace

std::string svg(const std::string& title, const std::string& x_label, const std::vector<Panel>& panels, int columns) {
  const int count = static_cast<int>(panels.size()), rows = (count + columns - 1) / columns;
  const double cell_width = kLeft + kWidth + kRight, cell_height = kTop + kHeight + kBottom;
  const double width = cell_width * columns + kLegend, height = kTitle + cell_height * rows;
  std::string out = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0:.0f} {1:.0f}\" width=\"{0:.0f}\" height=\"{1:.0f}\" "
      "font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
      width, height);
  out += text(width / 2, 20, "middle", title);
  for (int i = 0; i < count; ++i)
    out += field(panels[static_cast<size_t>(i)], x_label, kLeft + cell_width * (i % columns),
                 kTitle + kTop + cell_height * (i / columns));
  for (size_t i = 0; i < panels.front().lines.size(); ++i) {
    const double left = cell_width * columns, y = kTitle + kTop + 18 * static_cast<double>(i);
    out += segment(left, y, left + 20, y, fmt::format("stroke=\"{}\" stroke-width=\"2\"", colour(i)));
    out += text(left + 26, y + 4, "start", panels.front().lines[i].label);
  }
  return out + "</svg>\n";
}

}  // namespace v4rt::needle
