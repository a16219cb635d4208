// What a back end is: it takes an artifact's launches to a device at load and then executes them on request.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "artifact.h"

namespace tw {

// Counts what a session allocates against its limit, before it allocates.
class Budget {
 public:
  explicit Budget(uint64_t limit);  // 0: physical memory
  void take(uint64_t nbytes, const char* what);
  void give_back(uint64_t nbytes) { used_ -= nbytes; }
  uint64_t used() const { return used_; }

 private:
  uint64_t limit_, used_ = 0;
};

struct Options {
  int threads = 1;
  bool checksums = true;
  bool profile = false;
  bool reject_nan = false;
  std::string device;
  std::string cache_dir;  // "" when there is none
  uint64_t memory_limit = 0;
};

// One launch's place in the last run, in ns from the run's start.
struct Timing {
  uint64_t start = 0, duration = 0;
};

class Backend {
 public:
  virtual ~Backend() = default;
  // Runs every launch. Buffers have been checked against the artifact. timings is null unless profiling,
  // else has one entry a launch.
  virtual void run(const tw_buffer* inputs, const tw_buffer* outputs, Timing* timings) = 0;
  virtual void set_profiling(bool) {}
  virtual std::string device() const = 0;
  virtual void stats(tw_stats* stats) const = 0;
};

// Each throws Error. artifact outlives the back end.
std::unique_ptr<Backend> make_cpu_backend(const Artifact& artifact, const Options& options, Budget* budget);
std::unique_ptr<Backend> make_opencl_backend(const Artifact& artifact, const Options& options, Budget* budget);
std::unique_ptr<Backend> make_cuda_backend(const Artifact& artifact, const Options& options, Budget* budget);

// Devices that a back end finds; an absent driver is an empty list.
void list_cpu_devices(std::vector<tw_device_info>* devices);
void list_opencl_devices(std::vector<tw_device_info>* devices);
void list_cuda_devices(std::vector<tw_device_info>* devices);

// The image of a module that a device takes: the first for which reject() gives "". Throws Error(TW_DEVICE)
// with every image's reason when there is none.
template <typename Reject>
const Image& pick_image(const Module& module, Reject reject);

[[noreturn]] void no_image(const Module& module, const std::string& reasons);
uint64_t now_ns();
void copy_text(char* to, size_t size, const char* from);

template <typename Reject>
const Image& pick_image(const Module& module, Reject reject) {
  std::string reasons;
  for (const Image& image : module.images) {
    std::string reason = reject(image);
    if (reason.empty()) return image;
    if (reasons.size() < 600) reasons += std::string("; ") + image.kind + " " + image.arch + ": " + reason;
  }
  no_image(module, reasons);
}

}  // namespace tw
