#pragma once

#include <string>
#include <vector>

namespace v4rt::needle {

struct Line {
  std::string label;           // "4096 tokens"
  std::vector<double> values;  // from 0 to 1, at equal distances over the whole width
};

struct Panel {
  std::string title;
  std::vector<Line> lines;
  double chance = 0;  // drawn as a dashed line where it is above 0
};

// Panels beside each other, `columns` in a row; a line has the same colour in all of them, by its place.
std::string svg(const std::string& title, const std::string& x_label, const std::vector<Panel>& panels, int columns);

}  // namespace v4rt::needle
