#include "session.h"

#include <errno.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>

#include "checked.h"
#include "memory.h"
#include "nan_check.h"
#include "selftest.h"
#include "trace.h"

namespace tw {
namespace {

std::unique_ptr<Backend> make_backend(const Artifact& artifact, const Options& options, Budget* budget) {
  const std::string name = artifact.backend;
  if (name == "cpu" || name == "nna") return make_cpu_backend(artifact, options, budget);
  if (name == "opencl") return make_opencl_backend(artifact, options, budget);
  if (name == "cuda") return make_cuda_backend(artifact, options, budget);
  fail(TW_DEVICE, "this runtime has no back end '%.64s'", name.c_str());
}

}  // namespace

Session::Session(FileMap file, Bytes bytes, const Options& options)
    : reject_nan_(options.reject_nan),
      file_(std::move(file)),
      artifact_(parse(bytes, options.checksums)),
      budget_(options.memory_limit) {
  backend_ = make_backend(artifact_, options, &budget_);
  device_ = backend_->device();
  for (const Launch& launch : artifact_.launches) layers_.push_back(artifact_.layers(launch));
  if (options.profile) set_profiling(true);
}

void Session::check_buffers(const char* what, const std::vector<uint32_t>& indices, const tw_buffer* buffers,
                            size_t count) const {
  if (count != indices.size()) fail(TW_USAGE, "%zu %ss given, the model has %zu", count, what, indices.size());
  for (size_t i = 0; i < count; ++i) {
    const Buffer& wanted = artifact_.buffers[indices[i]];
    if (buffers[i].nbytes != wanted.nbytes)
      fail(TW_USAGE, "%s '%s' has %llu bytes, the model's has %llu", what, wanted.name,
           static_cast<unsigned long long>(buffers[i].nbytes), static_cast<unsigned long long>(wanted.nbytes));
    if (!buffers[i].data && wanted.nbytes) fail(TW_USAGE, "%s '%s' is NULL", what, wanted.name);
  }
}

void Session::run(const tw_buffer* inputs, size_t input_count, const tw_buffer* outputs, size_t output_count) {
  check_buffers("input", artifact_.inputs, inputs, input_count);
  check_buffers("output", artifact_.outputs, outputs, output_count);
  for (size_t i = 0; reject_nan_ && i < input_count; ++i) {
    const Buffer& input = artifact_.buffers[artifact_.inputs[i]];
    if (has_nan(input.dtype, inputs[i].data, inputs[i].nbytes)) fail(TW_USAGE, "input '%s' holds NaN", input.name);
  }
  std::lock_guard<std::mutex> lock(mutex_);
  backend_->run(inputs, outputs, profiling_ ? timings_.data() : nullptr);
  ++runs_;
  if (!profiling_) return;
  for (size_t i = 0; i < timings_.size(); ++i) {
    ++totals_[i].runs;
    totals_[i].ns += timings_[i].duration;
  }
}

void Session::selftest(double* error, double* tolerance) {
  const Selftest& test = artifact_.selftest;
  if (test.outputs.empty()) fail(TW_USAGE, "the artifact has no self-test");
  std::vector<tw_buffer> inputs, outputs;
  std::vector<Memory> memory;
  for (Bytes input : test.inputs) inputs.push_back({const_cast<uint8_t*>(input.data), input.size});
  for (Bytes output : test.outputs) {
    memory.emplace_back(output.size);
    outputs.push_back({memory.back().data(), output.size});
  }
  run(inputs.data(), inputs.size(), outputs.data(), outputs.size());
  double worst = 0;
  for (size_t i = 0; i < outputs.size() && !std::isnan(worst); ++i) {
    double found = relative_error(artifact_.buffers[artifact_.outputs[i]].dtype, outputs[i].data, test.outputs[i]);
    worst = std::isnan(found) ? found : std::max(worst, found);
  }
  *error = worst;
  *tolerance = test.tolerance;
  if (!(worst <= test.tolerance))
    fail(TW_KERNEL, "self-test failed on %s: relative error %g, at most %g allowed", device_.c_str(), worst,
         test.tolerance);
}

void Session::set_profiling(bool on) {
  std::lock_guard<std::mutex> lock(mutex_);
  backend_->set_profiling(on);
  profiling_ = on;
  timings_.assign(artifact_.launches.size(), {});
  totals_.assign(artifact_.launches.size(), {});
}

void Session::profile(size_t index, tw_profile_entry* entry) const {
  std::lock_guard<std::mutex> lock(mutex_);
  if (index >= artifact_.launches.size()) fail(TW_USAGE, "launch %zu of %zu", index, artifact_.launches.size());
  const Launch& launch = artifact_.launches[index];
  *entry = {launch.module == format::kCopy ? "copy" : launch.kernel, layers_[index].c_str(), 0, 0, 0, 0};
  if (index >= totals_.size()) return;
  entry->runs = totals_[index].runs;
  entry->total_ns = totals_[index].ns;
  entry->last_start_ns = timings_[index].start;
  entry->last_ns = timings_[index].duration;
}

void Session::write_trace(const char* path) const {
  std::string text;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (totals_.empty() || totals_[0].runs == 0) fail(TW_USAGE, "no profiled run: enable profiling and run first");
    text = chrome_trace(artifact_, device_, timings_);
  }
  FILE* file = fopen(path, "wb");
  bool written = file && fwrite(text.data(), 1, text.size(), file) == text.size();
  written = file && fclose(file) == 0 && written;
  if (!written) fail(TW_IO, "%s: cannot write the trace: %s", path, strerror(errno));
}

void Session::stats(tw_stats* stats) const {
  std::lock_guard<std::mutex> lock(mutex_);
  stats->arena_bytes = artifact_.arena_bytes;
  stats->constant_bytes = artifact_.constants.size;
  stats->static_bytes = artifact_.static_bytes;
  stats->owned_bytes = budget_.used();
  stats->runs = runs_;
  backend_->stats(stats);
}

}  // namespace tw
