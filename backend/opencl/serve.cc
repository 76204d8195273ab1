#include "backend/opencl/serve.h"

#include "backend/opencl/child.h"
#include "backend/opencl/compilers.h"
#include "backend/opencl/first_launch.h"
#include "backend/opencl/lanes_trial.h"
#include "backend/opencl/opencl_context.h"
#include "backend/opencl/opencl_device.h"

namespace v4rt {

void serve(const OpenclName& device, int socket) {
  const auto [site, name] = find_opencl_site(device);
  const cl::Context context = open_context(site, {}, name);
  send_text(socket, kGreeting);
  auto asked = receive_text(socket);
  if (asked == kTry) {
    const auto lanes = receive_text(socket);
    if (!lanes) return;
    asked = serve_trial(device, *lanes == to_string(Lanes::kVector) ? Lanes::kVector : Lanes::kWorkItems, socket);
  }
  for (bool heard = true; heard && (asked == kCompile || asked == kLaunch); asked = receive_text(socket)) {
    const auto what = receive_text(socket), source = receive_text(socket), options = receive_text(socket);
    if (!options) return;
    const ProgramText text{*what, *source, *options};
    if (asked == kCompile) {
      heard = send_text(socket, compiled(context.get(), site.device, text, name));
      continue;
    }
    const auto binary = receive_text(socket), kernel = receive_text(socket), launch = receive_text(socket);
    if (!launch) return;
    heard = send_text(socket, launched(context.get(), site.device, text, *binary, *kernel, *launch, name));
  }
}

}  // namespace v4rt
