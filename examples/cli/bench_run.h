#pragma once

#include "examples/cli/bench_report.h"
#include "examples/cli/model_options.h"

namespace v4rt::cli {

// Opens the model and measures it, and with --fast once more; shows progress. The limits of the host are measured
// alongside where they are those of the devices. Needs an InterruptGuard.
BenchReport run_bench(const Checkpoint& checkpoint, const ModelArguments& arguments, const BenchPlan& plan);

}  // namespace v4rt::cli
