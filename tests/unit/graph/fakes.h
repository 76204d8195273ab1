#pragma once

// Small ops and devices for tests of the graph.

#include <algorithm>
#include <cstring>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "backend/joining.h"
#include "backend/overlap.h"
#include "graph/ir/builder.h"
#include "ops/ref_context.h"

namespace v4rt::fakes {

inline TensorType f32(int64_t n) { return {.dtype = DType::kF32, .shape = {n}}; }

// An op made of functions. By default its kind is one that layouts ignore.
class FakeOp final : public Op {
 public:
  using Infer = std::function<std::vector<TensorType>(std::span<const TensorType>)>;
  using Run = std::function<void(RefContext&)>;

  FakeOp(std::string label, Infer infer, Run run, std::vector<Alias> aliases = {}, OpKind kind = OpKind::kAddStreams)
      : label_(std::move(label)),
        infer_(std::move(infer)),
        run_(std::move(run)),
        aliases_(std::move(aliases)),
        kind_(kind) {}
  OpKind kind() const override { return kind_; }
  std::string describe() const override { return label_; }
  std::vector<TensorType> infer(std::span<const TensorType> in) const override { return infer_(in); }
  void reference(RefContext& context) const override { run_(context); }
  Input input(size_t) const override { return {}; }
  std::span<const Alias> aliases() const override { return aliases_; }

 private:
  Cost work(std::span<const TensorType> in, const Step& step) const override {
    return {.flops = static_cast<double>(step.n_rows()), .io_bytes = static_cast<double>(in.size())};
  }

  std::string label_;
  Infer infer_;
  Run run_;
  std::vector<Alias> aliases_;
  OpKind kind_;
};

inline std::vector<float> sum_of_inputs(RefContext& context, float start) {
  std::vector<float> sum(static_cast<size_t>(context.output(0).shape.elements()), start);
  for (int i = 0; i < context.n_inputs(); ++i) {
    const auto in = context.read(i);
    for (size_t k = 0; k < sum.size(); ++k) sum[k] = 0.5f * sum[k] + in[k];
  }
  return sum;
}

// out = a mix of all inputs that depends on their order.
inline OpPtr mix(float start = 1) {
  return std::make_shared<FakeOp>(
      "mix", [](std::span<const TensorType> in) { return std::vector<TensorType>{in[0]}; },
      [start](RefContext& c) { c.write(0, 0, sum_of_inputs(c, start)); });
}

// The same, written over input 0.
inline OpPtr mix_into(float start = 2) {
  return std::make_shared<FakeOp>(
      "mix_into", [](std::span<const TensorType> in) { return std::vector<TensorType>{in[0]}; },
      [start](RefContext& c) { c.write(0, 0, sum_of_inputs(c, start)); }, std::vector<Alias>{{0, 0}});
}

// Two outputs: the mix, and one element.
inline OpPtr split() {
  return std::make_shared<FakeOp>(
      "split",
      [](std::span<const TensorType> in) {
        return std::vector<TensorType>{in[0], f32(1)};
      },
      [](RefContext& c) {
        const std::vector<float> sum = sum_of_inputs(c, 3);
        c.write(0, 0, sum);
        c.write(1, 0, std::span(sum).first(1));
      });
}

class FakeBuffer final : public Buffer {
 public:
  FakeBuffer(std::shared_ptr<std::byte[]> memory, size_t offset, size_t bytes, bool visible, size_t alignment = 1)
      : memory_(std::move(memory)), offset_(offset), bytes_(bytes), visible_(visible), alignment_(alignment) {}
  size_t bytes() const override { return bytes_; }
  std::byte* host() const override { return visible_ ? data() : nullptr; }
  std::byte* data() const { return memory_.get() + offset_; }
  BufferPtr slice(size_t offset, size_t bytes) override {
    check(offset + bytes <= bytes_, Code::kInternal, "slice outside its buffer");
    check(offset % alignment_ == 0, Code::kInternal, "slice at {}, not a multiple of {}", offset, alignment_);
    return std::make_shared<FakeBuffer>(memory_, offset_ + offset, bytes, visible_, alignment_);
  }
  BufferPtr as_visible() const { return std::make_shared<FakeBuffer>(memory_, offset_, bytes_, true); }

 private:
  std::shared_ptr<std::byte[]> memory_;
  size_t offset_, bytes_;
  bool visible_;
  size_t alignment_;
};

class FakeKernel final : public Kernel {
 public:
  FakeKernel(const Op& op, size_t n_inputs, size_t n_outputs) : op(op), n_inputs(n_inputs), n_outputs(n_outputs) {}
  const Op& op;
  const size_t n_inputs, n_outputs;
};

// Runs Op::reference on memory that the host cannot see. Poisons everything it allocates, and the scratch of each
// launch.
class FakeDevice : public Device {
 public:
  explicit FakeDevice(std::string name) { info_.name = std::move(name); }

  std::function<Support(const OpCall&)> accept = [](const OpCall&) { return Support{}; };
  Layout wanted = Layout::kRows;
  bool imports = false;
  size_t scratch = 0;  // of every kernel
  DeviceInfo info_{.name = "", .description = "fake", .alignment = 64, .features = {}};
  std::vector<std::string> log;  // "begin", "launch mix", "upload 16", "download 16"
  bool logging = false;
  size_t allocated = 0, largest = 0;                           // bytes in total; of the largest buffer
  std::shared_ptr<size_t> live = std::make_shared<size_t>(0);  // bytes, now

  const DeviceInfo& info() const override { return info_; }
  Support supports(const OpCall& call) const override { return accept(call); }
  std::unique_ptr<Kernel> make(const OpCall& call, int) override {
    auto kernel = std::make_unique<FakeKernel>(call.op, call.inputs.size(), call.outputs.size());
    kernel->scratch_bytes = scratch;
    kernel->name = info_.name + "." + call.op.describe();
    return kernel;
  }
  Layout weight_layout(const TensorType&) const override { return wanted; }
  BufferPtr allocate(size_t bytes) override {
    allocated += bytes;
    largest = std::max(largest, bytes);
    *live += bytes;
    const std::shared_ptr<std::byte[]> memory(new std::byte[bytes], [live = live, bytes](std::byte* p) {
      *live -= bytes;
      delete[] p;
    });
    std::memset(memory.get(), 0xff, bytes);  // NaN
    return std::make_shared<FakeBuffer>(memory, 0, bytes, false, info_.alignment);
  }
  BufferPtr import_host(std::span<const std::byte> memory) override {
    if (!imports) return nullptr;
    const std::shared_ptr<std::byte[]> borrowed(const_cast<std::byte*>(memory.data()), [](std::byte*) {});
    return std::make_shared<FakeBuffer>(borrowed, 0, memory.size(), false, info_.alignment);
  }
  std::unique_ptr<Queue> create_queue() override;
  std::shared_ptr<std::vector<std::string>> also;  // "a launch mix": of several devices in one, where there is one
  void note(const std::string& event) {
    if (!logging) return;
    log.push_back(event);
    if (also != nullptr) also->push_back(info_.name + " " + event);
  }

 private:
  friend class FakeQueue;
};

class FakeQueue final : public Queue {
 public:
  explicit FakeQueue(FakeDevice& device) : device_(device) {}
  void upload(Buffer& dst, size_t offset, std::span<const std::byte> src) override {
    check(offset + src.size() <= dst.bytes(), Code::kInternal, "upload outside its buffer");
    if (device_.logging) device_.note("upload " + std::to_string(src.size()));
    std::memcpy(static_cast<FakeBuffer&>(dst).data() + offset, src.data(), src.size());
  }
  void download(std::span<std::byte> dst, Buffer& src, size_t offset) override {
    check(offset + dst.size() <= src.bytes(), Code::kInternal, "download outside its buffer");
    if (device_.logging) device_.note("download " + std::to_string(dst.size()));
    std::memcpy(dst.data(), static_cast<FakeBuffer&>(src).data() + offset, dst.size());
  }
  void fill(Buffer& dst, std::byte value) override {
    std::memset(static_cast<FakeBuffer&>(dst).data(), static_cast<int>(value), dst.bytes());
  }
  void copy(Buffer& dst, size_t dst_offset, Buffer& src, size_t src_offset, size_t bytes) override {
    check(dst_offset + bytes <= dst.bytes() && src_offset + bytes <= src.bytes(), Code::kInternal, "copy outside");
    std::memcpy(static_cast<FakeBuffer&>(dst).data() + dst_offset, static_cast<FakeBuffer&>(src).data() + src_offset,
                bytes);
  }
  void begin(const Step&) override { device_.note("begin"); }
  void launch(const Kernel& kernel, std::span<const Tensor> args, const Step& step) override {
    const auto& fake = static_cast<const FakeKernel&>(kernel);
    if (device_.logging) device_.note("launch " + fake.op.describe());
    if (quiet) return;
    std::vector<Tensor> visible;
    for (const Tensor& arg : args) visible.push_back({arg.type, show(arg.values), show(arg.scales)});
    if (fake.scratch_bytes > 0) std::memset(visible.back().values->host(), 0xff, fake.scratch_bytes);
    const std::span<const Tensor> all(visible);
    RefContext context(all.first(fake.n_inputs), all.subspan(fake.n_inputs, fake.n_outputs), step);
    fake.op.reference(context);
  }
  void finish() override {}
  bool quiet = false;  // launches do nothing

 private:
  static BufferPtr show(const BufferPtr& buffer) {
    return buffer == nullptr ? nullptr : static_cast<const FakeBuffer&>(*buffer).as_visible();
  }
  FakeDevice& device_;
};

inline std::unique_ptr<Queue> FakeDevice::create_queue() { return std::make_unique<FakeQueue>(*this); }

// Does several ops in one launch, all that do not work in place, unless `any`, up to four; and, as their work-groups
// may, writes outputs of later ones before inputs of earlier ones are read for the last time.
class JoinedOp final : public Op {
 public:
  JoinedOp(std::span<const JoinedCall> calls, bool scratch) : scratch_(scratch) {
    for (const JoinedCall& one : calls)
      parts_.push_back({&one.call.op, one.call.inputs.size(), one.call.outputs.size()});
  }
  OpKind kind() const override { return OpKind::kCustom; }
  std::string describe() const override {
    std::string text;
    for (const Part& part : parts_) text += (text.empty() ? "" : " + ") + part.op->describe();
    return text;
  }
  Input input(size_t) const override { return {}; }
  std::vector<TensorType> infer(std::span<const TensorType>) const override { return {}; }
  void reference(RefContext& context) const override {
    for (const bool poison : {true, false}) {
      int next = 0;
      for (const Part& part : parts_) {
        std::vector<Tensor> in, out;
        for (size_t i = 0; i < part.inputs; ++i) in.push_back(context.tensor(next++));
        for (size_t i = 0; i < part.outputs; ++i) out.push_back(context.tensor(next++));
        if (scratch_) ++next;
        for (const Tensor& tensor : out)
          if (poison) std::memset(tensor.values->host(), 0xff, tensor.type.bytes());
        RefContext own(in, out, context.step());
        if (!poison) part.op->reference(own);
      }
    }
  }

 private:
  struct Part {
    const Op* op;
    size_t inputs, outputs;
  };
  Cost work(std::span<const TensorType>, const Step&) const override { return {}; }
  std::vector<Part> parts_;
  bool scratch_;
};

class JoiningFake final : public FakeDevice, public JoiningDevice {
 public:
  using FakeDevice::FakeDevice;
  int family(const OpCall& call) const override { return any || call.op.aliases().empty() ? 1 : 0; }
  bool joins(std::span<const JoinedCall> calls) const override {
    const auto none = [this](const JoinedCall& one) { return family(one.call) == 0 || !one.after.empty(); };
    return calls.size() <= 4 && std::none_of(calls.begin(), calls.end(), none);
  }
  std::unique_ptr<Kernel> join(std::span<const JoinedCall> calls) override {
    joined.push_back(std::make_unique<JoinedOp>(calls, scratch > 0));
    size_t tensors = 0;
    for (const JoinedCall& one : calls)
      tensors += one.call.inputs.size() + one.call.outputs.size() + (scratch > 0 ? 1 : 0);
    return std::make_unique<FakeKernel>(*joined.back(), tensors, 0);
  }
  void launched_alone(const Kernel& kernel) const override { alone.push_back(&kernel); }
  bool any = false;
  std::vector<std::unique_ptr<JoinedOp>> joined;
  mutable std::vector<const Kernel*> alone;
};

// Does nothing before somebody waits for it, and then no more than it must: who reads too early finds old bytes, and
// who gives memory away too early has its next content uploaded.
class LazyQueue final : public Queue, public OverlappingQueue {
 public:
  explicit LazyQueue(FakeDevice& device) : queue_(device) {}
  void upload(Buffer& dst, size_t offset, std::span<const std::byte> src) override {
    add([this, &dst, offset, bytes = std::vector<std::byte>(src.begin(), src.end())] {
      queue_.upload(dst, offset, bytes);
    });
  }
  void download(std::span<std::byte> dst, Buffer& src, size_t offset) override {
    finish();
    queue_.download(dst, src, offset);
  }
  void fill(Buffer& dst, std::byte value) override {
    add([this, &dst, value] { queue_.fill(dst, value); });
  }
  void copy(Buffer& dst, size_t dst_offset, Buffer& src, size_t src_offset, size_t bytes) override {
    add([this, &dst, dst_offset, &src, src_offset, bytes] { queue_.copy(dst, dst_offset, src, src_offset, bytes); });
  }
  void begin(const Step&) override {}
  void launch(const Kernel& kernel, std::span<const Tensor> args, const Step& step) override {
    add([this, &kernel, copied = std::vector<Tensor>(args.begin(), args.end()), step] {
      queue_.launch(kernel, copied, step);
    });
  }
  void finish() override { run_to(added_); }
  std::unique_ptr<LaterCopy> later_copy() override { return std::make_unique<Copy>(*this); }

 private:
  class Copy final : public LaterCopy {
   public:
    explicit Copy(LazyQueue& queue) : queue_(queue) {}
    void download(std::span<std::byte> dst, Buffer& src, size_t offset) override {
      queue_.add([this, dst, &src, offset] { queue_.queue_.download(dst, src, offset); });
      at_ = queue_.added_;
    }
    void upload(Buffer& dst, size_t offset, std::span<const std::byte> src) override {
      queue_.add([this, &dst, offset, src] { queue_.queue_.upload(dst, offset, src); });
      at_ = queue_.added_;
    }
    void wait() override { queue_.run_to(at_); }

   private:
    LazyQueue& queue_;
    size_t at_ = 0;
  };

  void add(std::function<void()> command) {
    commands_.push_back(std::move(command));
    ++added_;
  }
  void run_to(size_t n) {
    for (; done_ < n; ++done_) {
      commands_.front()();
      commands_.pop_front();
    }
  }

  FakeQueue queue_;
  std::deque<std::function<void()>> commands_;
  size_t added_ = 0, done_ = 0;
};

class LazyDevice final : public FakeDevice, public OverlappingDevice {
 public:
  using FakeDevice::FakeDevice;
  std::unique_ptr<Queue> create_queue() override { return std::make_unique<LazyQueue>(*this); }
};

inline Support refuse(const OpCall& call, std::string_view op, std::string why) {
  return call.op.describe() == op ? Support::no(std::move(why)) : Support{};
}

}  // namespace v4rt::fakes
