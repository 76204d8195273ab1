#pragma once

namespace v4rt {

// Counts calls of operator new in this program, by all threads, since it was constructed.
class AllocationCount {
 public:
  AllocationCount();
  long since() const;

 private:
  long start_;
};

}  // namespace v4rt
