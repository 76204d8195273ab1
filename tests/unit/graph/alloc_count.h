#pragma once

namespace v4rt {

// Counts the calls of operator new in this program, from all threads, from where it is made.
class AllocationCount {
 public:
  AllocationCount();
  long since() const;

 private:
  long start_;
};

}  // namespace v4rt
