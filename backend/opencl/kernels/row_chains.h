#pragma once

#include <array>
#include <span>
#include <string>
#include <vector>

#include "backend/opencl/kernels/row_kernel.h"

namespace v4rt {

// Functions of rows that one launch does. Those of a chain do the same rows one after the other; chains do not know of
// each other.
struct RowChains {
  struct Part {
    RowFunction function;
    size_t chain, first_tensor;
  };
  struct Chain {
    size_t first_part = 0;
    std::vector<int> leads;  // the ops before all parts that make what it takes; 0 where its first part has a `before`
  };
  std::vector<Part> parts;
  std::vector<Chain> chains;

  explicit operator bool() const { return !parts.empty(); }
  int64_t local_floats() const;
  std::optional<std::string> act() const;  // the definition of ACT; empty: they have none; nothing: they have several
  size_t group() const;                    // work-items that may share a row
};

// Of the calls after the first `leads`, whose tensors come after `tensors` others; empty: one launch does not do them.
RowChains row_chains(std::span<const JoinedCall> calls, size_t leads = 0, size_t tensors = 0);

// Arguments of a kernel as they are built: how many, and their bytes.
struct ArgumentCount {
  size_t count = 0, bytes = 0;
};
constexpr ArgumentCount arguments_of(size_t buffers, size_t numbers) {
  return {2 * buffers + numbers, buffers * (sizeof(cl_mem) + sizeof(cl_ulong)) + numbers * sizeof(cl_int)};
}

// How a program calls them, and what they take.
class RowText {
 public:
  // Numbers among their arguments are arguments of the kernel, or, with `numbers_within`, part of the text, which then
  // has an int `zero` that compilers do not know: they would unroll loops that end at a number.
  RowText(const RowChains& chains, bool numbers_within);

  // Statements that do rows [row_first_<c>, row_end_<c>) of each chain c, by the local memory of that name. There is at
  // most one row but where `several` says otherwise.
  std::string body(Lanes lanes, std::string_view shared, const std::vector<bool>& several = {}) const;

  std::string prototypes, functions;
  std::string arguments;  // of the kernel, each with a comma before it
  ArgumentCount counted;

 private:
  struct Call {  // of a part
    size_t chain;
    std::string function;
    std::vector<std::string> arguments;  // but for the row and what is shared
  };
  static std::string argument(std::span<const Call> calls, std::span<const size_t> parts, size_t at);
  std::string chosen(std::string_view name) const;

  size_t chains_;
  std::vector<Call> calls_;
};

// The arguments of a launch.
class ArgumentList {
 public:
  void add(const KernelArgument& argument) { list_.at(n_++) = argument; }
  void add(const BufferPtr& buffer) { add(static_cast<const Buffer*>(buffer.get())); }
  std::span<const KernelArgument> all() const { return std::span(list_).first(n_); }

 private:
  std::array<KernelArgument, 128> list_;
  size_t n_ = 0;
};

// In the order of RowText::arguments; `tables` are those of tables_of().
void add_arguments(ArgumentList& list, const RowChains& chains, bool numbers_within, std::span<const BufferPtr> tables,
                   OpenclQueue& queue, std::span<const Tensor> args);
std::vector<BufferPtr> tables_of(const RowChains& chains, OpenclDevice& device);

}  // namespace v4rt
