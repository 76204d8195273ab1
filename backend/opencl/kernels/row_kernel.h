#pragma once

#include <optional>
#include <span>
#include <type_traits>
#include <variant>

#include "backend/joining.h"
#include "backend/opencl/kernels.h"
#include "ops/linear/linear.h"

namespace v4rt {

struct LeadEntry;  // tail.h

// What a small op does to one row: a function of kernels/<file>, by one work-group,
//   EM_FN void name(.., size_t row, __local float* shared)
// A kernel is made of one of them, or of several that one launch is to do; or they are the tail of another (tail.h).

struct TensorAt {  // of the op's inputs, outputs and scratch memory
  size_t index;
};
struct EntriesAt {  // a tensor of compressed entries: rows, table, shift and capacity
  size_t index;
};
struct StepTable {};
using Table = std::span<const float>;  // the op's
using RowArgument = std::variant<TensorAt, EntriesAt, StepTable, Table, int32_t, float>;
// For copying it must not fail: libstdc++ 12 then destroys what was not made yet.
static_assert(std::is_trivially_copyable_v<RowArgument>);

constexpr size_t kMostRowGroup = 256;
constexpr size_t row_group(int64_t n) { return n >= 1024 ? kMostRowGroup : 64; }

struct RowFunction {
  std::string_view file, name;
  std::vector<std::string> definitions;  // of them ACT is the program's, others are the function's alone
  std::vector<RowArgument> arguments;    // those before row and shared
  size_t rows_per_token = 1;
  LiveRows live = LiveRows::kTokens;
  int32_t every = 1;  // it does nothing but where a row's position completes so many
  int64_t local_floats = 1;
  size_t group = 64;                  // work-items that may share a row
  size_t abreast = 1;                 // of a group so many, a power of two, do something together
  const LeadEntry* before = nullptr;  // what must be launched before it, with the op's tensors and scratch memory

  size_t rows(const Step& step) const { return static_cast<size_t>(live_rows(step, live)) * rows_per_token; }
};

// How the rows of a call are done; nothing: not by such a function.
using RowOp = std::optional<RowFunction> (*)(const OpCall& call);
struct RowOpEntry {
  OpKind op;
  RowOp row;
};
extern const RowOpEntry kRowRmsNorm, kRowHeadRms, kRowRopeTail, kRowFakeQuant, kRowHadamard, kRowRingAppend, kRowHcPre,
    kRowHcHead, kRowSwiglu, kRowRouteTopK, kRowRouteHash, kRowCompressPool;

// For the table of kernels: of an op with such a function.
std::unique_ptr<Kernel> make_row_kernel(const OpCall& call, OpenclDevice& device);

// Whether it is better launched by itself, though it has such a function.
bool stands_alone(const OpCall& call, const OpenclDevice& device);

// As JoiningDevice.
bool joins_rows(std::span<const JoinedCall> calls, const OpenclDevice& device);
std::unique_ptr<Kernel> join_rows(std::span<const JoinedCall> calls, OpenclDevice& device);

}  // namespace v4rt
