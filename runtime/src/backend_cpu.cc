// The cpu back end: machine code from the artifact, called directly. And the nna back end, which is the same with
// command streams among the kernels.
#include <cstring>
#include <utility>

#include "backend.h"
#include "checked.h"
#include "cpu_features.h"
#include "memory.h"
#include "nna_api.h"
#include "pool.h"
#include "shared_object.h"
#include "weights.h"

namespace tw {
namespace {

constexpr uint64_t kDirectAlignment = 64;  // generated code may use aligned vector loads of this size
constexpr size_t kMaxArgs = 64;

// Kernels are `int32_t k(void*, ...)` with a fixed number of parameters each: one caller per number.
template <size_t... I>
int32_t call(void* kernel, void* const* args, std::index_sequence<I...>) {
  using Kernel = int32_t (*)(decltype((void)I, static_cast<void*>(nullptr))...);
  return reinterpret_cast<Kernel>(kernel)(args[I]...);
}

using Caller = int32_t (*)(void* kernel, void* const* args);

template <size_t N>
int32_t call_with(void* kernel, void* const* args) {
  return call(kernel, args, std::make_index_sequence<N>());
}

struct CallerTable {
  Caller by_count[kMaxArgs + 1];
  template <size_t... N>
  explicit constexpr CallerTable(std::index_sequence<N...>) : by_count{call_with<N>...} {}
};

constexpr CallerTable kCallers{std::make_index_sequence<kMaxArgs + 1>()};

bool aligned(const void* data) { return reinterpret_cast<uintptr_t>(data) % kDirectAlignment == 0; }

struct Step {
  Caller caller;  // null for a copy
  void* kernel;
  const uint32_t* args;
  size_t arg_count;
  const Image* stream = nullptr;  // instead of a kernel
};

class CpuBackend : public Backend {
 public:
  CpuBackend(const Artifact& artifact, const Options& options, Budget* budget)
      : artifact_(artifact), nna_(!strcmp(artifact.backend, "nna")) {
    if (!options.device.empty() && options.device != "cpu" && options.device != "0")
      fail(TW_DEVICE, "this artifact is for the cpu, not for device '%s'", options.device.c_str());
    load_kernels(options);
    allocate(options, budget);
    load_weights(budget);
  }

  void run(const tw_buffer* inputs, const tw_buffer* outputs, Timing* timings) override {
    const size_t input_count = artifact_.inputs.size(), output_count = artifact_.outputs.size();
    for (size_t i = 0; i < input_count; ++i) {
      void*& place = buffers_[artifact_.inputs[i]];
      place = aligned(inputs[i].data) ? inputs[i].data : memcpy(input_stages_[i], inputs[i].data, inputs[i].nbytes);
    }
    for (size_t i = 0; i < output_count; ++i)
      buffers_[artifact_.outputs[i]] = aligned(outputs[i].data) ? outputs[i].data : output_stages_[i];
    {
      Pool::Scope scope(pool_.get());
      timings ? execute<true>(steps_, artifact_.launches, timings)
              : execute<false>(steps_, artifact_.launches, nullptr);
    }
    for (size_t i = 0; i < output_count; ++i)
      if (!aligned(outputs[i].data)) memcpy(outputs[i].data, output_stages_[i], outputs[i].nbytes);
  }

  std::string device() const override {
    return std::string(cpu_arch()) + " cpu" + (nna_ ? " and a simulated NNA" : "");
  }

  void stats(tw_stats* stats) const override { stats->threads = static_cast<uint32_t>(pool_->threads()); }

 private:
  template <bool kTimed>
  void execute(const std::vector<Step>& steps, const std::vector<Launch>& launches, Timing* timings) {
    const uint64_t start = kTimed ? now_ns() : 0;
    uint64_t begin = start;
    for (size_t i = 0; i < steps.size(); ++i) {
      const Step& step = steps[i];
      void* args[kMaxArgs];
      for (size_t a = 0; a < step.arg_count; ++a) args[a] = buffers_[step.args[a]];
      if (step.stream) {
        run(step, args, i);
      } else if (!step.caller) {
        memmove(args[1], args[0], artifact_.buffers[step.args[0]].nbytes);
      } else if (int32_t code = step.caller(step.kernel, args)) {
        fail(TW_KERNEL, "%s failed with code %d%s", artifact_.describe(launches[i]).c_str(), code,
             code == -1 ? " (no workspace left)" : "");
      }
      if (kTimed) {
        uint64_t end = now_ns();
        timings[i] = {begin - start, end - begin};
        begin = end;
      }
    }
  }

  void run(const Step& step, void* const* args, size_t launch) {
    StreamOperand operands[kStreamOperands];
    for (size_t a = 0; a < step.arg_count; ++a) {
      const Buffer& buffer = artifact_.buffers[step.args[a]];
      operands[a] = {args[a], buffer.nbytes, buffer.kind != format::kConstant && buffer.kind != format::kInput};
    }
    try {
      run_stream(step.stream->data, operands, step.arg_count);
    } catch (Error& error) {
      error.text = artifact_.describe(artifact_.launches[launch]) + ": " + error.text;
      throw;
    }
  }

  static std::string reject(const Image& image) {
    if (strcmp(image.kind, "elf") != 0) return "not machine code";
    if (strcmp(image.arch, cpu_arch()) != 0) return std::string("this machine is ") + cpu_arch();
    std::string missing;
    for (const char* feature : image.features)
      if (!cpu_has(feature)) missing += std::string(" ") + feature;
    return missing.empty() ? "" : "this cpu lacks" + missing;
  }

  void load_kernels(const Options& options) {
    const char* temporary = getenv("TMPDIR");
    std::string fallback = !options.cache_dir.empty() ? options.cache_dir : temporary ? temporary : "/tmp";
    for (const Module& module : artifact_.modules) {
      streams_.push_back(nna_ ? stream_of(module) : nullptr);
      libraries_.emplace_back();
      if (streams_.back()) continue;
      libraries_.back() = std::make_unique<SharedObject>(pick_image(module, reject).data, fallback.c_str());
      connect(*libraries_.back());
    }
    steps_ = steps_of(artifact_.launches);
  }

  // A module's command stream, if it is one. The simulator runs those of every accelerator.
  static const Image* stream_of(const Module& module) {
    const Image& image = module.images[0];
    if (strcmp(image.kind, "ethosu") != 0 && strcmp(image.kind, "vbd") != 0) return nullptr;
    open_nna();
    return &image;
  }

  std::vector<Step> steps_of(const std::vector<Launch>& launches) const {
    std::vector<Step> steps;
    for (const Launch& launch : launches) {
      Step step{nullptr, nullptr, launch.args.data, launch.args.size, nullptr};
      if (step.arg_count > kMaxArgs)
        fail(TW_ARTIFACT, "%s takes %zu buffers, more than %zu", artifact_.describe(launch).c_str(), step.arg_count,
             kMaxArgs);
      if (launch.module != format::kCopy && streams_[launch.module]) {
        step.stream = streams_[launch.module];
        if (step.arg_count > kStreamOperands)
          TW_BAD("%s has %zu base pointers, at most %zu", artifact_.describe(launch).c_str(), step.arg_count,
                 kStreamOperands);
      } else if (launch.module != format::kCopy) {
        step.kernel = libraries_[launch.module]->symbol(launch.kernel);
        step.caller = kCallers.by_count[step.arg_count];
        if (!step.kernel)
          TW_BAD("module %s has no %s", artifact_.modules[launch.module].name, artifact_.describe(launch).c_str());
      }
      steps.push_back(step);
    }
    return steps;
  }

  // Code generated by TVM calls its runtime through these pointers; a module without parallel loops or
  // workspaces has none of them.
  static void connect(const SharedObject& library) {
    auto set = [&](const char* slot, auto* function) {
      if (void* address = library.symbol(slot)) memcpy(address, &function, sizeof function);
    };
    set("__TVMBackendAllocWorkspace", &Pool::alloc_workspace);
    set("__TVMBackendFreeWorkspace", &Pool::free_workspace);
    set("__TVMBackendParallelLaunch", &Pool::parallel_launch);
  }

  // One allocation for all that a run touches: arenas, staging for each input and output, workspaces of every thread,
  // and the weights that do not lie in the file as a kernel needs them.
  void allocate(const Options& options, Budget* budget) {
    const int threads = options.threads > 0 ? options.threads : usable_cores();
    uint64_t total = 0;
    auto place = [&](uint64_t nbytes) {
      uint64_t offset = total;
      total = align(add(total, nbytes), Memory::kAlignment);
      return offset;
    };
    uint64_t arena = place(artifact_.arena_bytes), fixed = place(artifact_.static_bytes);
    const Needs needs(artifact_);
    std::vector<uint64_t> homes(artifact_.buffers.size());
    for (size_t i = 0; i < homes.size(); ++i)
      if (needs.run[i] && !in_place(artifact_.buffers[i])) homes[i] = place(artifact_.buffers[i].nbytes);
    std::vector<uint64_t> stages;
    for (uint32_t index : artifact_.inputs) stages.push_back(place(artifact_.buffers[index].nbytes));
    for (uint32_t index : artifact_.outputs) stages.push_back(place(artifact_.buffers[index].nbytes));
    uint64_t scratch_bytes = align(add(artifact_.scratch_bytes, kScratchSlack), Memory::kAlignment);
    uint64_t scratch = place(mul(scratch_bytes, threads));
    budget->take(total, "activations, staging, workspaces and expanded or unaligned weights");
    memory_ = Memory(total);
    uint8_t* base = memory_.data();

    for (size_t i = 0; i < homes.size(); ++i) {
      const Buffer& buffer = artifact_.buffers[i];
      uint8_t* home = nullptr;
      if (buffer.kind == format::kArena) home = base + arena + buffer.offset;
      if (buffer.kind == format::kStatic) home = base + fixed + buffer.offset;
      if (in_place(buffer)) home = const_cast<uint8_t*>(buffer.stored.data);  // only read
      if (needs.run[i] && !in_place(buffer)) read_constant(buffer, home = base + homes[i]);
      buffers_.push_back(home);
    }
    for (size_t i = 0; i < stages.size(); ++i)
      (i < artifact_.inputs.size() ? input_stages_ : output_stages_).push_back(base + stages[i]);
    pool_ = std::make_unique<Pool>(threads, base + scratch, scratch_bytes);
  }

  // Whether a kernel can use a constant where it lies.
  static bool in_place(const Buffer& buffer) {
    return buffer.kind == format::kConstant && !buffer.coded && aligned(buffer.stored.data);
  }

  // Runs the prologue, with memory of its own for what nobody needs after it.
  void load_weights(Budget* budget) {
    if (artifact_.prologue.empty()) return;
    const Needs needs(artifact_);
    uint64_t total = artifact_.temporary_bytes;
    std::vector<uint64_t> homes(buffers_.size());
    for (size_t i = 0; i < homes.size(); ++i) {
      if (!needs.load[i] || in_place(artifact_.buffers[i])) continue;
      homes[i] = align(total, Memory::kAlignment);
      total = add(homes[i], artifact_.buffers[i].nbytes);
    }
    budget->take(total, "weights while they are loaded");
    Memory memory(total);
    for (size_t i = 0; i < homes.size(); ++i) {
      const Buffer& buffer = artifact_.buffers[i];
      if (buffer.kind == format::kTemporary) buffers_[i] = memory.data() + buffer.offset;
      if (needs.load[i] && !in_place(buffer)) {
        buffers_[i] = memory.data() + homes[i];
        read_constant(buffer, memory.data() + homes[i]);
      }
    }
    {
      Pool::Scope scope(pool_.get());
      execute<false>(steps_of(artifact_.prologue), artifact_.prologue, nullptr);
    }
    budget->give_back(total);
  }

  static constexpr uint64_t kScratchSlack = 4096;  // for rounding each workspace up to its alignment

  const Artifact& artifact_;
  const bool nna_;
  std::vector<std::unique_ptr<SharedObject>> libraries_;  // by module; null for streams
  std::vector<const Image*> streams_;                     // by module; null for libraries
  std::vector<Step> steps_;
  Memory memory_;
  std::vector<void*> buffers_;  // by buffer index; inputs and outputs are set at each run
  std::vector<void*> input_stages_, output_stages_;
  std::unique_ptr<Pool> pool_;
};

}  // namespace

std::unique_ptr<Backend> make_cpu_backend(const Artifact& artifact, const Options& options, Budget* budget) {
  return std::make_unique<CpuBackend>(artifact, options, budget);
}

void list_cpu_devices(std::vector<tw_device_info>* devices) {
  tw_device_info info{};
  copy_text(info.backend, sizeof info.backend, "cpu");
  copy_text(info.name, sizeof info.name,
            (std::string(cpu_arch()) + ", " + std::to_string(usable_cores()) + " cores").c_str());
  copy_text(info.driver, sizeof info.driver, cpu_features().c_str());
  devices->push_back(info);
}

}  // namespace tw
