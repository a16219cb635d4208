// The OpenCL 1.2 back end: source from the artifact, compiled once per device and driver.
#include <algorithm>
#include <cstring>
#include <map>

#include "backend.h"
#include "failure.h"
#include "memory.h"
#include "opencl_device.h"
#include "opencl_owned.h"
#include "opencl_texels.h"
#include "program_cache.h"
#include "weights.h"

namespace tw {
namespace {

using cl::check;
using cl::Owned;

class OpenClBackend : public Backend {
 public:
  OpenClBackend(const Artifact& artifact, const Options& options, Budget* budget)
      : artifact_(artifact), device_(cl::choose_device(options.device)), cl_(*cl::api()), cache_(options.cache_dir) {
    cl::Int code;
    context_ = {cl_.clCreateContext(nullptr, 1, &device_.device, nullptr, nullptr, &code), cl_.clReleaseContext};
    check(code, "clCreateContext", device_.name.c_str());
    set_profiling(options.profile);
    const uint64_t loading = allocate(budget);
    launches_.reserve(artifact_.launches.size() + artifact_.prologue.size());
    for (const Launch& launch : artifact_.launches) launches_.push_back(&launch);
    for (const Launch& launch : artifact_.prologue) launches_.push_back(&launch);
    kernels_.resize(launches_.size());
    for (size_t i = 0; i < artifact_.modules.size(); ++i) build(static_cast<int32_t>(i));
    for (size_t i = 0; i < launches_.size(); ++i) bind(i);
    for (size_t i = artifact_.launches.size(); i < launches_.size(); ++i) enqueue(i, nullptr);
    check(cl_.clFinish(queue_.get()), "clFinish", "the weights");
    kernels_.resize(artifact_.launches.size());
    launches_.resize(artifact_.launches.size());
    loading_.clear();
    budget->give_back(loading);
    events_.resize(artifact_.launches.size());
  }

  ~OpenClBackend() override {
    if (queue_.get()) cl_.clFinish(queue_.get());
  }

  void run(const tw_buffer* inputs, const tw_buffer* outputs, Timing* timings) override {
    cl::Queue queue = queue_.get();
    try {
      for (size_t i = 0; i < artifact_.inputs.size(); ++i)
        if (inputs[i].nbytes)
          check(cl_.clEnqueueWriteBuffer(queue, buffers_[artifact_.inputs[i]], 0, 0, inputs[i].nbytes, inputs[i].data,
                                         0, nullptr, nullptr),
                "clEnqueueWriteBuffer", artifact_.buffers[artifact_.inputs[i]].name);
      for (size_t i = 0; i < artifact_.launches.size(); ++i) enqueue(i, timings ? &events_[i] : nullptr);
      for (size_t i = 0; i < artifact_.outputs.size(); ++i)
        if (outputs[i].nbytes)
          check(cl_.clEnqueueReadBuffer(queue, buffers_[artifact_.outputs[i]], 0, 0, outputs[i].nbytes, outputs[i].data,
                                        0, nullptr, nullptr),
                "clEnqueueReadBuffer", artifact_.buffers[artifact_.outputs[i]].name);
      check(cl_.clFinish(queue), "clFinish", "the run");
    } catch (...) {
      cl_.clFinish(queue);  // the caller's buffers must not be touched after this returns
      release_events();
      throw;
    }
    if (timings) read_events(timings);
  }

  void set_profiling(bool on) override {
    cl::Int code;
    queue_ = {cl_.clCreateCommandQueue(context_.get(), device_.device, on ? cl::kQueueProfiling : 0, &code),
              cl_.clReleaseCommandQueue};
    check(code, "clCreateCommandQueue");
  }

  std::string device() const override { return device_.name + " (" + device_.driver + ")"; }

  void stats(tw_stats* stats) const override {
    stats->threads = 1;
    stats->programs_compiled = compiled_;
    stats->programs_cached = cached_;
  }

 private:
  using Memory = std::vector<Owned<cl::Mem>>;

  cl::Mem create(Memory* owner, cl::Flags flags, uint64_t nbytes, const void* data, const char* what) {
    if (nbytes > max_alloc_)
      fail(TW_DEVICE, "%s needs %llu bytes in one piece, %s gives at most %llu", what,
           static_cast<unsigned long long>(nbytes), device_.name.c_str(), static_cast<unsigned long long>(max_alloc_));
    cl::Int code;
    cl::Mem mem = cl_.clCreateBuffer(context_.get(), flags, nbytes, const_cast<void*>(data), &code);
    check(code, "clCreateBuffer", what);
    owner->emplace_back(mem, cl_.clReleaseMemObject);
    return mem;
  }

  // The parts of one big buffer, each made once.
  class Arena {
   public:
    // An empty part at the very end still needs room.
    Arena(OpenClBackend* backend, Memory* owner, uint64_t nbytes, const char* what)
        : backend_(backend),
          owner_(owner),
          whole_(backend->create(owner, cl::kMemReadWrite, nbytes + kLeastBytes, nullptr, what)) {}

    cl::Mem part(const Buffer& buffer) {
      cl::Region region{buffer.offset, size(buffer)};
      cl::Mem& part = parts_[{region.origin, region.size}];
      if (part) return part;
      cl::Int code;
      part = backend_->cl_.clCreateSubBuffer(whole_, 0, cl::kBufferCreateRegion, &region, &code);
      check(code, "clCreateSubBuffer", buffer.name);
      owner_->emplace_back(part, backend_->cl_.clReleaseMemObject);
      return part;
    }

   private:
    OpenClBackend* backend_;
    Memory* owner_;
    cl::Mem whole_;
    std::map<std::pair<uint64_t, uint64_t>, cl::Mem> parts_;  // by offset and size
  };

  static uint64_t size(const Buffer& buffer) { return std::max<uint64_t>(buffer.nbytes, kLeastBytes); }

  cl::Mem create_constant(Memory* owner, const Buffer& buffer, Budget* budget) {
    if (!buffer.nbytes) return create(owner, cl::kMemReadOnly, kLeastBytes, nullptr, buffer.name);
    const cl::Flags flags = cl::kMemReadOnly | cl::kMemCopyHostPtr;
    if (!buffer.coded) return create(owner, flags, buffer.nbytes, buffer.stored.data, buffer.name);
    budget->take(buffer.nbytes, "a weight that is expanded");
    tw::Memory expanded(buffer.nbytes);
    read_constant(buffer, expanded.data());
    cl::Mem mem = create(owner, flags, buffer.nbytes, expanded.data(), buffer.name);
    budget->give_back(buffer.nbytes);
    return mem;
  }

  // Returns the bytes of what the prologue alone needs: loading_ owns it.
  uint64_t allocate(Budget* budget) {
    max_alloc_ = cl::device_value<cl::Ulong>(device_.device, cl::kDeviceMaxMemAlloc);
    cl::Uint alignment = cl::device_value<cl::Uint>(device_.device, cl::kDeviceBaseAddrAlign) / 8;
    if (alignment && format::kArenaAlignment % alignment)
      fail(TW_DEVICE, "%s wants buffers aligned to %u bytes, artifacts have %llu", device_.name.c_str(), alignment,
           static_cast<unsigned long long>(format::kArenaAlignment));
    budget->take(artifact_.arena_bytes, "activations");
    budget->take(artifact_.temporary_bytes, "weights while they are loaded");
    uint64_t loading = artifact_.temporary_bytes;
    Arena arena(this, &memory_, artifact_.arena_bytes, "the arena");
    Arena temporaries(this, &loading_, artifact_.temporary_bytes, "the prologue's arena");
    const Needs needs(artifact_);
    std::map<std::pair<uint64_t, uint64_t>, cl::Mem> constants[2];  // by offset and size; raw ones, kept or not
    for (size_t i = 0; i < artifact_.buffers.size(); ++i) {
      const Buffer& buffer = artifact_.buffers[i];
      cl::Mem mem = nullptr;
      switch (buffer.kind) {
        case format::kArena:
          mem = arena.part(buffer);
          break;
        case format::kTemporary:
          mem = temporaries.part(buffer);
          break;
        case format::kConstant: {
          const bool kept = !needs.load[i];
          cl::Mem unshared = nullptr;
          cl::Mem& constant = buffer.coded ? unshared : constants[kept][{buffer.offset, size(buffer)}];
          if (!constant) {
            budget->take(size(buffer), "weights");
            if (!kept) loading += size(buffer);
            constant = create_constant(kept ? &memory_ : &loading_, buffer, budget);
          }
          mem = constant;
          break;
        }
        case format::kStatic:  // one by one, as a device may not give all in one piece
          budget->take(size(buffer), "expanded weights");
          mem = create(&memory_, cl::kMemReadWrite, size(buffer), nullptr, buffer.name);
          break;
        default:
          budget->take(size(buffer), "inputs and outputs");
          mem = create(&memory_, cl::kMemReadWrite | cl::kMemAllocHostPtr, size(buffer), nullptr, buffer.name);
      }
      buffers_.push_back(mem);
    }
    return loading;
  }

  std::string reject(const Image& image) const {
    if (strcmp(image.kind, "opencl") != 0) return "not OpenCL source";
    std::string missing;
    for (const char* feature : image.features) {
      uint64_t texels;
      const bool has = cl::wants_texels(feature, &texels)
                           ? texels <= cl::most_texels(device_.device)
                           : device_.extensions.find(" " + std::string(feature) + " ") != std::string::npos;
      if (!has) missing += std::string(" ") + feature;
    }
    return missing.empty() ? "" : device_.name + " lacks" + missing;
  }

  // Builds a module from the cache, or else from source, and creates its kernels.
  void build(int32_t index) {
    const Module& module = artifact_.modules[index];
    const Image& image = pick_image(module, [this](const Image& candidate) { return reject(candidate); });
    uint64_t texels;
    reads_texels_.push_back(std::any_of(image.features.begin(), image.features.end(),
                                        [&](const char* feature) { return cl::wants_texels(feature, &texels); }));
    std::string_view source(reinterpret_cast<const char*>(image.data.data), image.data.size);
    std::string key = ProgramCache::key({source, image.options, device_.name, device_.driver});
    std::vector<uint8_t> binary;
    if (cache_.load(key, &binary)) {
      try {
        programs_.push_back(program_from_binary(image, binary));
        create_kernels(index, programs_.back().get());
        ++cached_;
        return;
      } catch (const Error&) {
        // The driver does not take what it once gave: compile again.
      }
    }
    programs_.push_back(program_from_source(module, image, source));
    create_kernels(index, programs_.back().get());
    ++compiled_;
    // Only now: some drivers generate code when a kernel is created.
    if (read_binary(programs_.back().get(), &binary)) cache_.store(key, {binary.data(), binary.size()});
  }

  Owned<cl::Program> program_from_binary(const Image& image, const std::vector<uint8_t>& binary) {
    cl::Int code, status = 0;
    const size_t size = binary.size();
    const unsigned char* data = binary.data();
    Owned<cl::Program> program(
        cl_.clCreateProgramWithBinary(context_.get(), 1, &device_.device, &size, &data, &status, &code),
        cl_.clReleaseProgram);
    check(code, "clCreateProgramWithBinary");
    check(status, "clCreateProgramWithBinary");
    check(cl_.clBuildProgram(program.get(), 1, &device_.device, image.options, nullptr, nullptr), "clBuildProgram");
    return program;
  }

  Owned<cl::Program> program_from_source(const Module& module, const Image& image, std::string_view source) {
    cl::Int code;
    const char* text = source.data();
    const size_t size = source.size();
    Owned<cl::Program> program(cl_.clCreateProgramWithSource(context_.get(), 1, &text, &size, &code),
                               cl_.clReleaseProgram);
    check(code, "clCreateProgramWithSource", module.name);
    code = cl_.clBuildProgram(program.get(), 1, &device_.device, image.options, nullptr, nullptr);
    if (code != 0) {
      size_t log_size = 0;
      cl_.clGetProgramBuildInfo(program.get(), device_.device, cl::kProgramBuildLog, 0, nullptr, &log_size);
      std::string log(log_size, '\0');
      if (log_size)
        cl_.clGetProgramBuildInfo(program.get(), device_.device, cl::kProgramBuildLog, log_size, &log[0], nullptr);
      fail(TW_DEVICE, "module %s does not compile on %s: %s (%d)\n%s", module.name, device_.name.c_str(),
           cl::error_name(code), code, log.c_str());
    }
    return program;
  }

  bool read_binary(cl::Program program, std::vector<uint8_t>* binary) {
    size_t size = 0;
    if (cl_.clGetProgramInfo(program, cl::kProgramBinarySizes, sizeof size, &size, nullptr) != 0 || size == 0)
      return false;
    binary->resize(size);
    unsigned char* data = binary->data();
    return cl_.clGetProgramInfo(program, cl::kProgramBinaries, sizeof data, &data, nullptr) == 0;
  }

  // One kernel object a launch: its arguments are set once, and a run only enqueues.
  void create_kernels(int32_t module, cl::Program program) {
    for (size_t i = 0; i < launches_.size(); ++i) {
      const Launch& launch = *launches_[i];
      if (launch.module != module) continue;
      cl::Int code;
      cl::Kernel kernel = cl_.clCreateKernel(program, launch.kernel, &code);
      check(code, "clCreateKernel", artifact_.describe(launch).c_str());
      kernels_[i] = {kernel, cl_.clReleaseKernel};
    }
  }

  void bind(size_t index) {
    const Launch& launch = *launches_[index];
    if (launch.module == format::kCopy) return;
    const std::string name = artifact_.describe(launch);
    cl::Kernel kernel = kernels_[index].get();
    cl::Uint arg_count = 0;
    check(cl_.clGetKernelInfo(kernel, cl::kKernelNumArgs, sizeof arg_count, &arg_count, nullptr), "clGetKernelInfo");
    if (arg_count != launch.args.size)
      fail(TW_ARTIFACT, "%s has %u parameters and is given %zu buffers", name.c_str(), arg_count, launch.args.size);
    const bool texels = index < artifact_.launches.size() && reads_texels_[launch.module];
    for (cl::Uint a = 0; a < arg_count; ++a) {
      const cl::Mem mem = texels ? as_texels(launch.args[a]) : buffers_[launch.args[a]];
      check(cl_.clSetKernelArg(kernel, a, sizeof mem, &mem), "clSetKernelArg", name.c_str());
    }
    size_t most = 0;
    check(cl_.clGetKernelWorkGroupInfo(kernel, device_.device, cl::kKernelWorkGroupSize, sizeof most, &most, nullptr),
          "clGetKernelWorkGroupInfo", name.c_str());
    const double items = double(launch.block[0]) * launch.block[1] * launch.block[2];
    if (items > double(most))
      fail(TW_DEVICE, "%s wants work-groups of %.0f items, %s gives it at most %zu", name.c_str(), items,
           device_.name.c_str(), most);
  }

  // The image over a buffer that is read as texels; any other buffer itself.
  cl::Mem as_texels(uint32_t index) {
    const Buffer& buffer = artifact_.buffers[index];
    if (!buffer.texel_buffer) return buffers_[index];
    cl::Mem& image = texels_[index];
    if (!image) {
      image = cl::create_texels(context_.get(), buffers_[index], buffer);
      memory_.emplace_back(image, cl_.clReleaseMemObject);
    }
    return image;
  }

  void enqueue(size_t index, cl::Event* event) {
    const Launch& launch = *launches_[index];
    if (launch.module == format::kCopy) {
      const uint64_t nbytes = artifact_.buffers[launch.args[0]].nbytes;
      if (nbytes && buffers_[launch.args[0]] != buffers_[launch.args[1]])
        check(cl_.clEnqueueCopyBuffer(queue_.get(), buffers_[launch.args[0]], buffers_[launch.args[1]], 0, 0, nbytes, 0,
                                      nullptr, event),
              "clEnqueueCopyBuffer", "a copy");
      return;
    }
    size_t global[3], local[3];
    for (int axis = 0; axis < 3; ++axis) {
      local[axis] = launch.block[axis];
      global[axis] = size_t{launch.grid[axis]} * launch.block[axis];
    }
    cl::Int code =
        cl_.clEnqueueNDRangeKernel(queue_.get(), kernels_[index].get(), 3, nullptr, global, local, 0, nullptr, event);
    if (code != 0) check(code, "clEnqueueNDRangeKernel", artifact_.describe(launch).c_str());
  }

  void read_events(Timing* timings) {
    cl::Ulong origin = 0;
    for (size_t i = 0; i < events_.size(); ++i) {
      timings[i] = {};
      if (!events_[i]) continue;
      cl::Ulong start = 0, end = 0;
      cl_.clGetEventProfilingInfo(events_[i], cl::kProfilingStart, sizeof start, &start, nullptr);
      cl_.clGetEventProfilingInfo(events_[i], cl::kProfilingEnd, sizeof end, &end, nullptr);
      if (!origin) origin = start;
      timings[i] = {start > origin ? start - origin : 0, end > start ? end - start : 0};
    }
    release_events();
  }

  void release_events() {
    for (cl::Event& event : events_) {
      if (event) cl_.clReleaseEvent(event);
      event = nullptr;
    }
  }

  static constexpr uint64_t kLeastBytes = 16;  // OpenCL has no empty buffers

  const Artifact& artifact_;
  cl::FoundDevice device_;
  const cl::Api& cl_;
  ProgramCache cache_;
  uint64_t max_alloc_ = 0;
  uint32_t compiled_ = 0, cached_ = 0;
  // Released in the reverse order.
  Owned<cl::Context> context_;
  Owned<cl::Queue> queue_;
  Memory memory_, loading_;             // the latter until the prologue has run
  std::vector<cl::Mem> buffers_;        // by buffer index, in memory_
  std::map<uint32_t, cl::Mem> texels_;  // by buffer index, in memory_
  std::vector<Owned<cl::Program>> programs_;
  std::vector<bool> reads_texels_;          // by module
  std::vector<const Launch*> launches_;     // and, while loading, the prologue's after them
  std::vector<Owned<cl::Kernel>> kernels_;  // by launch
  std::vector<cl::Event> events_;           // by launch, while profiling
};

}  // namespace

std::unique_ptr<Backend> make_opencl_backend(const Artifact& artifact, const Options& options, Budget* budget) {
  return std::make_unique<OpenClBackend>(artifact, options, budget);
}

}  // namespace tw
