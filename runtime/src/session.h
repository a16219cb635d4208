// A loaded model: an artifact on a back end, with its profile.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "artifact.h"
#include "backend.h"
#include "file_map.h"

namespace tw {

class Session {
 public:
  // file is empty when the caller keeps the bytes.
  Session(FileMap file, Bytes bytes, const Options& options);

  const Artifact& artifact() const { return artifact_; }
  const std::string& device() const { return device_; }
  void run(const tw_buffer* inputs, size_t input_count, const tw_buffer* outputs, size_t output_count);
  void selftest(double* error, double* tolerance);
  void set_profiling(bool on);
  void profile(size_t index, tw_profile_entry* entry) const;
  void write_trace(const char* path) const;
  void stats(tw_stats* stats) const;

 private:
  struct Total {
    uint64_t runs = 0, ns = 0;
  };

  void check_buffers(const char* what, const std::vector<uint32_t>& indices, const tw_buffer* buffers,
                     size_t count) const;

  const bool reject_nan_;
  FileMap file_;
  Artifact artifact_;
  Budget budget_;
  std::unique_ptr<Backend> backend_;
  std::string device_;
  std::vector<std::string> layers_;  // by launch

  mutable std::mutex mutex_;  // held for a run; guards all below
  uint64_t runs_ = 0;
  bool profiling_ = false;
  std::vector<Timing> timings_;  // of the last profiled run
  std::vector<Total> totals_;
};

}  // namespace tw
