#pragma once

#include <atomic>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "backend/binary_store.h"
#include "backend/device.h"
#include "backend/opencl/capabilities.h"
#include "backend/opencl/cl.h"
#include "backend/opencl/compilers.h"
#include "backend/opencl/kernel_sources.h"

namespace v4rt {

class FirstLaunch;
class LateFunction;
class OpenclQueue;

// The programs of one device: one per kernel and set of definitions, from the store on disk where it has them. What is
// built from source is stored at once.
class ProgramCache {
 public:
  // `device_name` is for messages. `compiler`: the command of compilers.h; without one programs are built here, each
  // when it is asked for.
  ProgramCache(cl_context context, const OpenclSite& site, const Capabilities& capabilities, std::string device_name,
               const std::string& directory, std::vector<std::string> compiler = {});

  void employ(std::vector<std::unique_ptr<Child>> processes);  // as Compilers

  // Kernel `name` of the source built with the definitions ("DIM=128") as -D options. Throws Error(kDevice) with the
  // compiler's log, if it is built here.
  std::shared_ptr<LateFunction> function(const KernelSource& source, const std::vector<std::string>& definitions,
                                         const std::string& name);
  // Waits until all of them are there. Throws as function(), and what `progress` throws.
  void finish(const std::function<void(double done)>& progress);

  std::vector<DeviceProgram> programs();  // those that are there

 private:
  friend LateFunction;
  struct Entry {
    std::string file, name, key;
    ProgramText text;
    cl::Program program;                             // empty: not loaded or built yet
    bool made = false;                               // a function of it
    bool built_here = false;                         // from source; a stored binary may turn out to be unusable
    std::atomic<bool> launched = false;              // before, in some process, or nobody can be asked to try
    std::shared_future<Compilers::Result> compiled;  // valid: other processes are asked
    std::vector<std::weak_ptr<LateFunction>> late;   // functions that wait for the program
  };
  cl::Function stored_function(Entry& entry) const;
  void order(Entry& entry);
  void take(Entry& entry);
  cl_int load(Entry& entry, const std::vector<std::byte>& binary) const;
  void build(Entry& entry) const;  // from source, and stores it
  void try_launch(Entry& entry, const FirstLaunch& launch, const OpenclQueue& queue);
  void make_functions(Entry& entry) const;

  cl_context context_;
  cl_device_id device_;
  std::string device_name_;
  std::string identity_;  // of device and driver: part of every key
  std::string fenced_language_;
  std::string common_options_;  // of every program
  BinaryStore disk_;
  std::mutex mutex_;
  std::map<std::string, Entry> entries_;  // by file, name and options
  std::unique_ptr<Compilers> compilers_;  // last: its threads store
};

// A kernel of a program that may still be on its way. The cache outlives those that are.
class LateFunction {
 public:
  LateFunction(ProgramCache& cache, ProgramCache::Entry& entry) : cache_(cache), entry_(entry) {}
  cl_kernel get();  // waits for it; throws as ProgramCache::function
  // Whether a launch needs no try, which another process makes.
  bool launched() const { return entry_.launched; }
  void try_launch(const FirstLaunch& launch, const OpenclQueue& queue) { cache_.try_launch(entry_, launch, queue); }

 private:
  friend ProgramCache;
  ProgramCache& cache_;
  ProgramCache::Entry& entry_;
  cl::Function made_;
};

}  // namespace v4rt
