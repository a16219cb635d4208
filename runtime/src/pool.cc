#include "pool.h"

#include <sched.h>

#include <system_error>

#include "backend.h"
#include "checked.h"

namespace tw {
namespace {

constexpr uint64_t kWorkspaceAlignment = 64;  // what generated code assumes of a workspace
constexpr uint64_t kSpinNs = 50000;

struct Context {
  Pool* pool = nullptr;
  Scratch* scratch = nullptr;
  bool inside_task = false;
};

thread_local Context context;

inline void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Waits a short while for ready() to become true; returns whether it did.
template <typename Ready>
bool spin(Ready ready) {
  uint64_t start = 0;
  for (int i = 1;; ++i) {
    if (ready()) return true;
    relax();
    if (i % 64) continue;
    uint64_t now = now_ns();
    if (!start) start = now;
    if (now - start > kSpinNs) return false;
  }
}

}  // namespace

void* Scratch::push(uint64_t nbytes) {
  uint64_t room = end_ - top_;
  if (nbytes > room || ((nbytes + kWorkspaceAlignment - 1) & ~(kWorkspaceAlignment - 1)) > room) return nullptr;
  void* block = top_;
  top_ += (nbytes + kWorkspaceAlignment - 1) & ~(kWorkspaceAlignment - 1);
  return block;
}

void Scratch::pop(void* block) {
  uint8_t* start = static_cast<uint8_t*>(block);
  if (start >= base_ && start < top_) top_ = start;
}

Pool::Pool(int threads, uint8_t* scratch, uint64_t scratch_bytes) : scratch_(threads) {
  for (Scratch& piece : scratch_) {
    piece.reset(scratch, scratch_bytes);
    scratch += scratch_bytes;
  }
  try {
    for (int i = 1; i < threads; ++i) workers_.emplace_back([this, i] { work(i); });
  } catch (const std::system_error&) {
    int started = static_cast<int>(workers_.size()) + 1;
    stop();
    fail(TW_MEMORY, "could start only %d of %d threads", started, threads);
  }
}

Pool::~Pool() { stop(); }

void Pool::stop() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stop_ = true;
    epoch_.fetch_add(1);
  }
  wake_.notify_all();
  for (std::thread& worker : workers_) worker.join();
  workers_.clear();
}

Pool::Scope::Scope(Pool* pool) { context = {pool, &pool->scratch_[0], false}; }
Pool::Scope::~Scope() { context = {}; }

int Pool::parallel_launch(ParallelTask task, void* closure, int tasks) {
  if (context.pool && !context.inside_task) return context.pool->launch(task, closure, tasks);
  ParallelEnv env{nullptr, 1};
  return task(0, &env, closure);
}

void* Pool::alloc_workspace(int, int, uint64_t nbytes, int, int) {
  return context.scratch ? context.scratch->push(nbytes) : nullptr;
}

int Pool::free_workspace(int, int, void* block) {
  if (context.scratch) context.scratch->pop(block);
  return 0;
}

// Kernels divide their work by env->num_task, so any number of tasks is right.
int Pool::launch(ParallelTask task, void* closure, int tasks) {
  if (tasks <= 0 || tasks > threads()) tasks = threads();
  if (tasks == 1) {
    ParallelEnv env{nullptr, 1};
    return task(0, &env, closure);
  }
  task_ = task;
  closure_ = closure;
  env_.num_task = tasks;
  failure_.store(0, std::memory_order_relaxed);
  pending_.store(threads() - 1, std::memory_order_relaxed);
  epoch_.fetch_add(1);
  if (sleepers_.load() > 0) {
    // Taking the lock orders this wake-up after a worker's last look at epoch_.
    { std::lock_guard<std::mutex> lock(mutex_); }
    wake_.notify_all();
  }
  context.inside_task = true;
  ParallelEnv env = env_;
  int code = task(0, &env, closure);
  context.inside_task = false;
  await_workers();
  return code ? code : failure_.load(std::memory_order_relaxed);
}

void Pool::await_workers() {
  auto finished = [this] { return pending_.load(std::memory_order_acquire) == 0; };
  if (spin(finished)) return;
  std::unique_lock<std::mutex> lock(mutex_);
  caller_sleeps_.store(true);
  done_.wait(lock, [this] { return pending_.load() == 0; });
  caller_sleeps_.store(false);
}

void Pool::work(int index) {
  context = {this, &scratch_[index], true};
  uint32_t seen = 0;
  for (;;) {
    auto called = [&] { return epoch_.load(std::memory_order_acquire) != seen; };
    if (!spin(called)) {
      std::unique_lock<std::mutex> lock(mutex_);
      sleepers_.fetch_add(1);
      wake_.wait(lock, [&] { return epoch_.load() != seen; });
      sleepers_.fetch_sub(1);
    }
    ++seen;
    if (stop_) return;
    if (index < env_.num_task) {
      ParallelEnv env = env_;
      int code = task_(index, &env, closure_);
      if (code) failure_.store(code, std::memory_order_relaxed);
    }
    if (pending_.fetch_sub(1) == 1 && caller_sleeps_.load()) {
      { std::lock_guard<std::mutex> lock(mutex_); }
      done_.notify_one();
    }
  }
}

int usable_cores() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
  return 1;
}

}  // namespace tw
