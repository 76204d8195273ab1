#include "backend/registry.h"
#include "examples/cli/command.h"

namespace v4rt::cli {

// Not for people: other processes of this program compile OpenCL programs in it (backend/opencl/compilers.h).
void add_compile_for(CLI::App& app, Action& action) {
  auto device = std::make_shared<std::string>();
  CLI::App* command = app.add_subcommand(kCompileFor, "Compile for a process that asks through standard input.");
  command->group("");
  command->add_option("DEVICE", *device)->required();
  command->callback([device, &action] {
    action = [device] {
      compile_for(*device);
      return kSuccess;
    };
  });
}

}  // namespace v4rt::cli
