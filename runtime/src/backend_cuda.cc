// The CUDA back end, on the driver API: cubins for known devices, PTX for newer ones.
#include <cstdlib>
#include <cstring>
#include <map>

#include "backend.h"
#include "checked.h"
#include "choose.h"
#include "cuda_api.h"
#include "failure.h"
#include "memory.h"
#include "weights.h"

namespace tw {
namespace {

using cuda::check;

struct FoundDevice {
  cuda::Device device;
  std::string name;
  int capability;  // 87 for compute capability 8.7
};

std::vector<FoundDevice> find_devices() {
  std::vector<FoundDevice> found;
  const cuda::Api* cuda = cuda::api();
  int count = 0;
  if (!cuda || cuda->device_count(&count) != 0) return found;
  for (int i = 0; i < count; ++i) {
    FoundDevice entry{0, "", 0};
    char name[256] = "";
    int major = 0, minor = 0;
    if (cuda->device_get(&entry.device, i) != 0 || cuda->device_name(name, sizeof name - 1, entry.device) != 0 ||
        cuda->device_attribute(&major, cuda::kMajor, entry.device) != 0 ||
        cuda->device_attribute(&minor, cuda::kMinor, entry.device) != 0)
      continue;
    entry.name = name;
    entry.capability = major * 10 + minor;
    found.push_back(entry);
  }
  return found;
}

FoundDevice choose_device(const std::string& wanted) {
  std::vector<FoundDevice> found = find_devices();
  if (found.empty())
    fail(TW_DEVICE, "no CUDA device: %s",
         cuda::api() ? "the driver finds none" : "libcuda.so.1 was not found or failed");
  std::vector<std::string> names;
  for (const FoundDevice& device : found) names.push_back(device.name);
  if (wanted.empty()) return found[0];
  std::vector<tw_device_info> before;  // in tw_device's list
  list_cpu_devices(&before);
  list_opencl_devices(&before);
  return found[choose(names, wanted, "CUDA", before.size())];
}

// 87 for "sm_87" or "compute_87"; 0 for anything else.
int capability_of(const char* arch) {
  const char* digits = strchr(arch, '_');
  return digits ? atoi(digits + 1) : 0;
}

class CudaBackend : public Backend {
 public:
  CudaBackend(const Artifact& artifact, const Options& options, Budget* budget)
      : artifact_(artifact), device_(choose_device(options.device)), cuda_(*cuda::api()) {
    check(cuda_.context_retain(&context_, device_.device), "cuDevicePrimaryCtxRetain", device_.name.c_str());
    try {
      Current current(*this);
      check(cuda_.stream_create(&stream_, cuda::kNonBlocking), "cuStreamCreate");
      load_kernels();
      functions_ = functions_of(artifact_.launches);
      allocate(budget);
      load_weights(budget);
    } catch (...) {
      release();
      throw;
    }
  }

  ~CudaBackend() override { release(); }

  void run(const tw_buffer* inputs, const tw_buffer* outputs, Timing* timings) override {
    Current current(*this);
    try {
      for (size_t i = 0; i < artifact_.inputs.size(); ++i)
        if (inputs[i].nbytes)
          check(cuda_.copy_in(buffers_[artifact_.inputs[i]], inputs[i].data, inputs[i].nbytes, stream_),
                "cuMemcpyHtoDAsync", artifact_.buffers[artifact_.inputs[i]].name);
      if (timings) check(cuda_.event_record(events_[0], stream_), "cuEventRecord");
      for (size_t i = 0; i < artifact_.launches.size(); ++i) {
        launch(artifact_.launches[i], functions_[i]);
        if (timings) check(cuda_.event_record(events_[i + 1], stream_), "cuEventRecord");
      }
      for (size_t i = 0; i < artifact_.outputs.size(); ++i)
        if (outputs[i].nbytes)
          check(cuda_.copy_out(outputs[i].data, buffers_[artifact_.outputs[i]], outputs[i].nbytes, stream_),
                "cuMemcpyDtoHAsync", artifact_.buffers[artifact_.outputs[i]].name);
    } catch (...) {
      cuda_.stream_synchronize(stream_);  // the caller's buffers must not be touched after this returns
      throw;
    }
    check(cuda_.stream_synchronize(stream_), "cuStreamSynchronize", "the run");
    if (timings) read_events(timings);
  }

  void set_profiling(bool on) override {
    Current current(*this);
    for (cuda::Event event : events_) cuda_.event_destroy(event);
    events_.clear();
    for (size_t i = 0; on && i <= artifact_.launches.size(); ++i) {
      cuda::Event event;
      check(cuda_.event_create(&event, 0), "cuEventCreate");
      events_.push_back(event);
    }
  }

  std::string device() const override { return device_.name + " (sm_" + std::to_string(device_.capability) + ")"; }

  void stats(tw_stats* stats) const override { stats->threads = 1; }

 private:
  // Makes the device's context this thread's while in scope.
  class Current {
   public:
    explicit Current(const CudaBackend& backend) : cuda_(backend.cuda_) {
      check(cuda_.context_push(backend.context_), "cuCtxPushCurrent");
    }
    ~Current() {
      cuda::Context ignored;
      cuda_.context_pop(&ignored);
    }

   private:
    const cuda::Api& cuda_;
  };

  void release() {
    cuda_.context_push(context_);
    if (stream_) cuda_.stream_synchronize(stream_);
    for (cuda::Event event : events_) cuda_.event_destroy(event);
    for (cuda::Module module : modules_) cuda_.module_unload(module);
    if (memory_) cuda_.free(memory_);
    if (loading_) cuda_.free(loading_);
    if (stream_) cuda_.stream_destroy(stream_);
    cuda::Context ignored;
    cuda_.context_pop(&ignored);
    cuda_.context_release(device_.device);
  }

  // A cubin runs on devices of its major version from its own minor version on; PTX on all newer ones.
  std::string reject(const Image& image) const {
    const int built = capability_of(image.arch), here = device_.capability;
    const std::string device = device_.name + " is sm_" + std::to_string(here);
    if (!strcmp(image.kind, "cubin")) return built && built / 10 == here / 10 && built <= here ? "" : device;
    if (!strcmp(image.kind, "ptx")) return built && built <= here ? "" : device;
    return "not CUDA code";
  }

  void load_kernels() {
    for (const Module& module : artifact_.modules) {
      const Image& image = pick_image(module, [this](const Image& candidate) { return reject(candidate); });
      std::string text(reinterpret_cast<const char*>(image.data.data),
                       image.data.size);  // PTX must end in NUL
      char log[2048] = "";
      cuda::JitOption keys[] = {cuda::kJitErrorLog, cuda::kJitErrorLogBytes};
      void* values[] = {log, reinterpret_cast<void*>(sizeof log - 1)};
      cuda::Module loaded;
      cuda::Result code = cuda_.module_load(&loaded, text.c_str(), 2, keys, values);
      if (code != 0) check(code, "cuModuleLoadDataEx", (std::string("module ") + module.name + "\n" + log).c_str());
      modules_.push_back(loaded);
    }
  }

  std::vector<cuda::Function> functions_of(const std::vector<Launch>& launches) {
    std::vector<cuda::Function> functions;
    for (const Launch& launch : launches) {
      cuda::Function function = nullptr;
      if (launch.module != format::kCopy)
        check(cuda_.module_function(&function, modules_[launch.module], launch.kernel), "cuModuleGetFunction",
              artifact_.describe(launch).c_str());
      functions.push_back(function);
      if (args_.size() < launch.args.size) args_.resize(launch.args.size);
    }
    return functions;
  }

  // Gives out parts of one allocation, at first as offsets.
  struct Layout {
    uint64_t total = 0;
    uint64_t place(uint64_t nbytes) {
      uint64_t offset = total;
      total = align(add(total, nbytes), format::kArenaAlignment);
      return offset;
    }
  };

  // One allocation for all that stays: activations, weights, inputs and outputs.
  void allocate(Budget* budget) {
    Layout layout;
    const uint64_t arena = layout.place(artifact_.arena_bytes), fixed = layout.place(artifact_.static_bytes);
    const Needs needs(artifact_);
    std::map<std::pair<uint64_t, uint64_t>, uint64_t> raw;  // equal constants lie in one place, in the file and here
    for (size_t i = 0; i < artifact_.buffers.size(); ++i) {
      const Buffer& buffer = artifact_.buffers[i];
      uint64_t place = 0;
      if (buffer.kind == format::kArena) {
        place = arena + buffer.offset;
      } else if (buffer.kind == format::kStatic) {
        place = fixed + buffer.offset;
      } else if (buffer.kind == format::kConstant && !buffer.coded && needs.run[i]) {
        auto [found, fresh] = raw.try_emplace({buffer.offset, buffer.nbytes}, 0);
        if (fresh) found->second = layout.place(buffer.nbytes);
        place = found->second;
      } else if (buffer.kind != format::kTemporary && (buffer.kind != format::kConstant || needs.run[i])) {
        place = layout.place(buffer.nbytes);
      }
      buffers_.push_back(place);
    }
    const uint64_t total = add(layout.total, format::kArenaAlignment);  // an empty buffer at the end has an address
    budget->take(total, "activations, weights, inputs and outputs");
    check(cuda_.alloc(&memory_, total), "cuMemAlloc", (std::to_string(total) + " bytes").c_str());
    for (cuda::Pointer& buffer : buffers_) buffer += memory_;
    copy_constants(needs.run, budget);
  }

  // Copies the chosen constants to where buffers_ says.
  void copy_constants(const std::vector<bool>& chosen, Budget* budget) {
    for (size_t i = 0; i < chosen.size(); ++i) {
      const Buffer& buffer = artifact_.buffers[i];
      if (!chosen[i] || !buffer.nbytes) continue;
      const uint64_t expanded_bytes = buffer.coded ? buffer.nbytes : 0;
      budget->take(expanded_bytes, "a weight that is expanded");
      Memory expanded(expanded_bytes);
      if (buffer.coded) read_constant(buffer, expanded.data());
      const uint8_t* bytes = buffer.coded ? expanded.data() : buffer.stored.data;
      check(cuda_.copy_in(buffers_[i], bytes, buffer.nbytes, stream_), "cuMemcpyHtoDAsync", buffer.name);
      check(cuda_.stream_synchronize(stream_), "cuStreamSynchronize", buffer.name);  // before `expanded` goes
      budget->give_back(expanded_bytes);
    }
  }

  // Runs the prologue, with memory of its own for what nobody needs after it.
  void load_weights(Budget* budget) {
    if (artifact_.prologue.empty()) return;
    const Needs needs(artifact_);
    Layout layout;
    const uint64_t arena = layout.place(artifact_.temporary_bytes);
    for (size_t i = 0; i < buffers_.size(); ++i) {
      const Buffer& buffer = artifact_.buffers[i];
      if (buffer.kind == format::kTemporary) buffers_[i] = arena + buffer.offset;
      if (needs.load[i]) buffers_[i] = layout.place(buffer.nbytes);
    }
    const uint64_t total = add(layout.total, format::kArenaAlignment);
    budget->take(total, "weights while they are loaded");
    check(cuda_.alloc(&loading_, total), "cuMemAlloc", (std::to_string(total) + " bytes").c_str());
    for (size_t i = 0; i < buffers_.size(); ++i)
      if (needs.load[i] || artifact_.buffers[i].kind == format::kTemporary) buffers_[i] += loading_;
    copy_constants(needs.load, budget);
    const std::vector<cuda::Function> functions = functions_of(artifact_.prologue);
    for (size_t i = 0; i < functions.size(); ++i) launch(artifact_.prologue[i], functions[i]);
    check(cuda_.stream_synchronize(stream_), "cuStreamSynchronize", "the weights");
    cuda_.free(loading_);
    loading_ = 0;
    budget->give_back(total);
  }

  void launch(const Launch& launch, cuda::Function function) {
    if (launch.module == format::kCopy) {
      const uint64_t nbytes = artifact_.buffers[launch.args[0]].nbytes;
      if (nbytes)
        check(cuda_.copy(buffers_[launch.args[1]], buffers_[launch.args[0]], nbytes, stream_), "cuMemcpyDtoDAsync");
      return;
    }
    for (size_t a = 0; a < launch.args.size; ++a) args_[a] = &buffers_[launch.args[a]];
    cuda::Result code = cuda_.launch(function, launch.grid[0], launch.grid[1], launch.grid[2], launch.block[0],
                                     launch.block[1], launch.block[2], 0, stream_, args_.data(), nullptr);
    if (code != 0) check(code, "cuLaunchKernel", artifact_.describe(launch).c_str());
  }

  void read_events(Timing* timings) {
    uint64_t begin = 0;
    for (size_t i = 0; i + 1 < events_.size(); ++i) {
      float end_ms = 0;
      cuda_.event_elapsed(&end_ms, events_[0], events_[i + 1]);
      uint64_t end = static_cast<uint64_t>(double(end_ms) * 1e6);
      timings[i] = {begin, end > begin ? end - begin : 0};
      begin = end;
    }
  }

  const Artifact& artifact_;
  FoundDevice device_;
  const cuda::Api& cuda_;
  cuda::Context context_ = nullptr;
  cuda::Stream stream_ = nullptr;
  cuda::Pointer memory_ = 0, loading_ = 0;  // the latter while the prologue runs
  std::vector<cuda::Module> modules_;
  std::vector<cuda::Function> functions_;  // by launch
  std::vector<cuda::Pointer> buffers_;     // by buffer index
  std::vector<void*> args_;                // of the launch under way
  std::vector<cuda::Event> events_;        // while profiling: the start, then each launch's end
};

}  // namespace

std::unique_ptr<Backend> make_cuda_backend(const Artifact& artifact, const Options& options, Budget* budget) {
  return std::make_unique<CudaBackend>(artifact, options, budget);
}

void list_cuda_devices(std::vector<tw_device_info>* devices) {
  const cuda::Api* cuda = cuda::api();
  int version = 0;
  if (cuda) cuda->driver_version(&version);
  for (const FoundDevice& device : find_devices()) {
    tw_device_info info{};
    copy_text(info.backend, sizeof info.backend, "cuda");
    copy_text(info.name, sizeof info.name, device.name.c_str());
    std::string text = "sm_" + std::to_string(device.capability) + "; CUDA " + std::to_string(version / 1000) + "." +
                       std::to_string(version % 1000 / 10);
    copy_text(info.driver, sizeof info.driver, text.c_str());
    devices->push_back(info);
  }
}

}  // namespace tw
