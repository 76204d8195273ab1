#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "graph/runtime/model.h"

namespace v4rt {

// Which kernel is taken with --fast for a shape that several can run.
struct TunedShape {
  std::string device;  // "opencl:0"
  std::string choice;  // "exact for linear ...: 0.4 ms; CLBlast 1.5.3 takes 4.2 times as long"
};

// Measures every shape of a model's plans on its devices and keeps the times in options.device_options.cache_dir,
// whatever was there: what Fast::kAuto otherwise does when it first meets a shape. Loads no weights. progress(shape,
// done) is called before each, done in [0, 1].
std::vector<TunedShape> tune(std::shared_ptr<const WeightSource> weights, ModelOptions options,
                             const std::function<void(std::string_view shape, double done)>& progress);

}  // namespace v4rt
