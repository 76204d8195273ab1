// A backend of one's own, in one file: a device that knows one operator, RMS norm, beside the cpu device, which runs
// all others. Proves it by the conformance suite, and prints what the model says on both together, and how many nodes
// ran where. custom_backend MODEL
//
// The operator's header (ops/norm/norm.h) defines its result to the last bit, so the text is that of every other
// device. A larger backend derives from TableDevice (backend/kernel_table.h) and adds a row per kernel.

#include <bit>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <vector>

#include "backend/conformance/check.h"
#include "backend/device.h"
#include "backend/host_buffer.h"
#include "backend/registry.h"
#include "graph/runtime/generate.h"
#include "graph/runtime/model.h"
#include "loaders/checkpoint/checkpoint.h"
#include "loaders/text/tokenizer.h"
#include "ops/core/arith.h"
#include "ops/norm/norm.h"

namespace {

using namespace v4rt;

// What a plan holds of a node: everything that is fixed. The plan keeps the op alive.
struct NormKernel final : Kernel {
  explicit NormKernel(const OpCall& call)
      : op(static_cast<const RmsNorm&>(call.op)),
        n(static_cast<size_t>(call.inputs[0].shape[-1])),
        rows_per_token(call.inputs[0].shape.rows() / call.inputs[0].shape[0]) {
    name = "mine.rms_norm";
  }
  const RmsNorm& op;
  const size_t n;
  const int64_t rows_per_token;
};

// Commands run in order; here each is done when the call returns.
class MyQueue final : public Queue {
 public:
  void upload(Buffer& dst, size_t offset, std::span<const std::byte> src) override {
    std::memcpy(dst.host() + offset, src.data(), src.size());
  }
  void download(std::span<std::byte> dst, Buffer& src, size_t offset) override {
    std::memcpy(dst.data(), src.host() + offset, dst.size());
  }
  void copy(Buffer& dst, size_t dst_offset, Buffer& src, size_t src_offset, size_t bytes) override {
    std::memmove(dst.host() + dst_offset, src.host() + src_offset, bytes);
  }
  void fill(Buffer& dst, std::byte value) override { std::memset(dst.host(), static_cast<int>(value), dst.bytes()); }
  void begin(const Step&) override {}
  void finish() override {}

  // args: x, w, y. Of the capacity of x, the rows of live tokens are computed, and no others written.
  void launch(const Kernel& kernel, std::span<const Tensor> args, const Step& step) override {
    const auto& norm = static_cast<const NormKernel&>(kernel);
    const int64_t rows = live_rows(step, norm.op.rows) * norm.rows_per_token;
    weight_.resize(norm.n);
    for (size_t i = 0; i < norm.n; ++i) weight_[i] = number(args[1], i);
    const auto* x = args[0].data<float>();
    auto* y = args[2].data<float>();
    for (int64_t row = 0; row < rows; ++row, x += norm.n, y += norm.n) {
      std::memmove(y, x, norm.n * sizeof(float));
      rms_norm_row({y, norm.n}, weight_, norm.op.eps);
    }
  }

 private:
  static float number(const Tensor& w, size_t i) {  // a bf16 is the upper half of an f32
    if (w.type.dtype == DType::kF32) return w.data<float>()[i];
    return std::bit_cast<float>(uint32_t{w.data<uint16_t>()[i]} << 16);
  }
  std::vector<float> weight_;
};

class MyDevice final : public Device {
 public:
  const DeviceInfo& info() const override { return info_; }

  // Yes, or no with the reason, which `explain` shows: the node then runs on another device.
  Support supports(const OpCall& call) const override {
    if (call.op.kind() != OpKind::kRmsNorm) return Support::no("this device knows rms_norm alone");
    if (call.inputs[0].dtype != DType::kF32) return Support::no("activations must be f32");
    return {};
  }
  std::unique_ptr<Kernel> make(const OpCall& call, int) override { return std::make_unique<NormKernel>(call); }

  BufferPtr allocate(size_t bytes) override {
    const size_t rounded = round_up(std::max<size_t>(bytes, 1), info_.alignment);
    const std::shared_ptr<void> memory(std::aligned_alloc(info_.alignment, rounded), std::free);
    check(memory != nullptr, Code::kOutOfMemory, "mine: cannot allocate {} bytes", bytes);
    return std::make_shared<HostBuffer>(static_cast<std::byte*>(memory.get()), bytes, memory);
  }
  std::unique_ptr<Queue> create_queue() override { return std::make_unique<MyQueue>(); }

 private:
  DeviceInfo info_{.name = "mine", .description = "an example", .features = {}};
};

// Runs the suite's cases of the operator, but for those that the device refuses; what is wrong, a line each.
bool is_proven(Device& device) {
  int same = 0, wrong = 0;
  for (const Case& c : all_cases()) {
    if (c.op->kind() != OpKind::kRmsNorm || c.inputs[0].dtype != DType::kF32) continue;
    const std::vector<std::string> problems = check_case(device, c);
    for (const std::string& problem : problems) std::fprintf(stderr, "%s: %s\n", c.name.c_str(), problem.c_str());
    ++(problems.empty() ? same : wrong);
  }
  std::fprintf(stderr, "mine: %d cases give the reference's bits, %d do not\n", same, wrong);
  return same > 0 && wrong == 0;
}

}  // namespace

int main(int argc, char** argv) try {
  MyDevice proven;
  if (!is_proven(proven)) return 1;
  const Checkpoint checkpoint = open_checkpoint(argc > 1 ? argv[1] : "");
  ModelOptions options{.place = {{"*norm*", "mine"}}, .numbers = NumberMode::kPlain};
  options.find_device = [](std::string_view name) -> std::shared_ptr<Device> {
    return name == "mine" ? std::make_shared<MyDevice>() : create_device(name);
  };
  const auto model = Model::open(checkpoint.weights, options);
  const auto tokenizer = Tokenizer::open(checkpoint.folder + "/tokenizer.json");

  std::map<std::string, int> nodes;
  for (const PlanStep& step : model->plan(1, LogitsOf::kLastRows).steps)
    if (const auto* launch = std::get_if<Launch>(&step))
      ++nodes[launch->kernel->name.substr(0, launch->kernel->name.find('.'))];
  for (const auto& [device, count] : nodes) std::fprintf(stderr, "%s: %d nodes\n", device.c_str(), count);

  Session session(model);
  std::vector<int32_t> prompt = tokenizer->encode("def factorial(n):\n    ");
  prompt.insert(prompt.begin(), model->config().bos_token_id);
  Sampler greedy({}, model->config().vocab_size);
  generate(session, prompt, {.end_tokens = model->config().eos_token_ids}, greedy, [&](int32_t id) {
    const std::string_view bytes = tokenizer->token_bytes(id);
    return std::fwrite(bytes.data(), 1, bytes.size(), stdout) == bytes.size();
  });
  return nodes["mine"] > 0 ? 0 : 1;
} catch (const std::exception& e) {
  std::fprintf(stderr, "custom_backend: %s\n", e.what());
  return 1;
}
