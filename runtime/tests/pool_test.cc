// The thread pool as kernels use it.
#include "pool.h"

#include <atomic>
#include <memory>
#include <thread>

#include "check.h"

namespace {

struct Sum {
  std::atomic<int64_t> total{0};
  std::atomic<int> calls{0};
};

// Adds 0..9999, split as compiled kernels split their loops.
int add_part(int task, tw::ParallelEnv* env, void* closure) {
  auto* sum = static_cast<Sum*>(closure);
  const int chunk = (10000 + env->num_task - 1) / env->num_task;
  int64_t part = 0;
  for (int i = task * chunk; i < 10000 && i < (task + 1) * chunk; ++i) part += i;
  sum->total += part;
  ++sum->calls;
  return 0;
}

int fail_in_third(int task, tw::ParallelEnv*, void*) { return task == 2 ? -7 : 0; }

int nested(int, tw::ParallelEnv*, void* closure) {
  Sum inner;
  tw::Pool::parallel_launch(add_part, &inner, 0);
  static_cast<Sum*>(closure)->total += inner.total;
  return inner.calls == 1 ? 0 : -1;  // inside a task there are no more threads
}

int use_workspace(int, tw::ParallelEnv*, void*) {
  auto* block = static_cast<uint8_t*>(tw::Pool::alloc_workspace(1, 0, 500, 2, 8));
  if (!block || reinterpret_cast<uintptr_t>(block) % 64) return -1;
  for (int i = 0; i < 500; ++i) block[i] = uint8_t(i);
  for (int i = 0; i < 500; ++i)
    if (block[i] != uint8_t(i)) return -2;
  return tw::Pool::free_workspace(1, 0, block);
}

}  // namespace

TEST(pool_divides_work) {
  for (int threads : {1, 2, 3, 7}) {
    tw::Pool pool(threads, nullptr, 0);
    tw::Pool::Scope scope(&pool);
    for (int tasks : {0, 1, 2, 100})
      for (int round = 0; round < 50; ++round) {
        Sum sum;
        CHECK(tw::Pool::parallel_launch(add_part, &sum, tasks) == 0);
        CHECK(sum.total == 49995000);
        CHECK(sum.calls == (tasks == 0 ? threads : std::min(tasks, threads)));
      }
  }
}

TEST(pool_wakes_sleeping_workers) {
  tw::Pool pool(3, nullptr, 0);
  tw::Pool::Scope scope(&pool);
  for (int round = 0; round < 20; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));  // longer than workers spin
    Sum sum;
    tw::Pool::parallel_launch(add_part, &sum, 0);
    CHECK(sum.total == 49995000);
  }
}

TEST(pool_reports_a_tasks_failure) {
  tw::Pool pool(4, nullptr, 0);
  tw::Pool::Scope scope(&pool);
  CHECK(tw::Pool::parallel_launch(fail_in_third, nullptr, 0) == -7);
  Sum sum;
  CHECK(tw::Pool::parallel_launch(add_part, &sum, 0) == 0);
}

TEST(nested_parallel_loops_run_serially) {
  tw::Pool pool(3, nullptr, 0);
  tw::Pool::Scope scope(&pool);
  Sum sum;
  CHECK(tw::Pool::parallel_launch(nested, &sum, 0) == 0);
  CHECK(sum.total == 3 * int64_t{49995000});
}

TEST(each_thread_has_its_workspace) {
  constexpr uint64_t kBytes = 512;
  std::unique_ptr<uint8_t[]> memory(new uint8_t[4 * kBytes + 64]);
  auto* base = reinterpret_cast<uint8_t*>((reinterpret_cast<uintptr_t>(memory.get()) + 63) / 64 * 64);
  tw::Pool pool(4, base, kBytes);
  tw::Pool::Scope scope(&pool);
  for (int round = 0; round < 100; ++round) CHECK(tw::Pool::parallel_launch(use_workspace, nullptr, 0) == 0);
  CHECK(tw::Pool::alloc_workspace(1, 0, kBytes + 1, 2, 8) == nullptr);
  CHECK(tw::Pool::alloc_workspace(1, 0, UINT64_MAX, 2, 8) == nullptr);
}

TEST(outside_a_run_there_is_no_workspace) {
  CHECK(tw::Pool::alloc_workspace(1, 0, 8, 2, 8) == nullptr);
  Sum sum;
  CHECK(tw::Pool::parallel_launch(add_part, &sum, 0) == 0);
  CHECK(sum.total == 49995000 && sum.calls == 1);
}
