// A session's threads. The caller takes part in its own work; between two parallel kernels workers spin for a
// short while before they sleep, because a network launches its next kernel within microseconds.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

namespace tw {

// The environment that compiled kernels expect; its layout is part of their ABI.
struct ParallelEnv {
  void* sync_handle;
  int32_t num_task;
};
using ParallelTask = int (*)(int task, ParallelEnv* env, void* closure);

// Workspace of one thread: a stack, because kernels free in the reverse order of allocation.
class Scratch {
 public:
  void reset(uint8_t* base, uint64_t nbytes) {
    base_ = top_ = base;
    end_ = base + nbytes;
  }
  void* push(uint64_t nbytes);
  void pop(void* block);

 private:
  uint8_t *base_ = nullptr, *top_ = nullptr, *end_ = nullptr;
};

class Pool {
 public:
  // scratch holds `threads` pieces of scratch_bytes each.
  Pool(int threads, uint8_t* scratch, uint64_t scratch_bytes);
  ~Pool();
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  int threads() const { return static_cast<int>(scratch_.size()); }

  // Makes this thread the pool's caller while in scope, so that kernels find the pool and their workspace.
  class Scope {
   public:
    explicit Scope(Pool* pool);
    ~Scope();
  };

  // What kernels call through their weak slots; they act on the pool of the calling thread.
  static int parallel_launch(ParallelTask task, void* closure, int tasks);
  static void* alloc_workspace(int, int, uint64_t nbytes, int, int);
  static int free_workspace(int, int, void* block);

 private:
  int launch(ParallelTask task, void* closure, int tasks);
  void work(int index);
  void await_workers();
  void stop();

  std::vector<Scratch> scratch_;  // one a thread, [0] is the caller's
  std::vector<std::thread> workers_;

  // The job; written by the caller before epoch_ rises, read by workers after.
  ParallelTask task_ = nullptr;
  void* closure_ = nullptr;
  ParallelEnv env_{nullptr, 0};
  bool stop_ = false;
  std::atomic<int> failure_{0};

  std::atomic<uint32_t> epoch_{0};
  std::atomic<int> pending_{0};  // workers that have not finished the job
  std::atomic<int> sleepers_{0};
  std::atomic<bool> caller_sleeps_{false};
  std::mutex mutex_;
  std::condition_variable wake_, done_;
};

// Threads this process may run on at once.
int usable_cores();

}  // namespace tw
