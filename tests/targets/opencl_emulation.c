// Runs OpenCL kernels on the CPU: work-groups one after another, the work-items of a group as fibers that run to the
// next barrier each. Compiled by clang, whose ``overloadable`` gives functions the names that OpenCL C calls them by.
#define _GNU_SOURCE
#include <stddef.h>
#include <stdlib.h>
#include <ucontext.h>

#define OVERLOAD __attribute__((overloadable))
enum { STACK_BYTES = 1 << 18 };

typedef struct {
  ucontext_t context;
  size_t id[3];
  int waits;
} Item;

static ucontext_t scheduler;
static Item* current;
static size_t group[3];
static void (*running)(void**);
static void** arguments;

OVERLOAD size_t get_local_id(unsigned axis) { return current->id[axis]; }
OVERLOAD size_t get_group_id(unsigned axis) { return group[axis]; }
OVERLOAD void barrier(unsigned fence) {
  current->waits = 1;
  swapcontext(&current->context, &scheduler);
}

static void enter(void) { running(arguments); }

// Runs every work-item to its next barrier or its end, until all have ended. Returns whether all met every barrier.
static int run_group(Item* items, unsigned count) {
  for (unsigned waiting = count; waiting;) {
    waiting = 0;
    for (current = items; current < items + count; ++current) {
      current->waits = 0;
      swapcontext(&scheduler, &current->context);
      waiting += current->waits;
    }
    if (waiting && waiting != count) return 0;
  }
  return 1;
}

// Returns 0, or 1 where work-items of a group did not meet the same barriers.
int emulate(void (*kernel)(void**), const unsigned* grid, const unsigned* block, void** args) {
  const unsigned count = block[0] * block[1] * block[2];
  Item* items = malloc(count * sizeof(Item));
  char* stacks = malloc((size_t)count * STACK_BYTES);
  running = kernel, arguments = args;
  int met = 1;
  for (unsigned number = 0; met && number < grid[0] * grid[1] * grid[2]; ++number) {
    group[0] = number % grid[0], group[1] = number / grid[0] % grid[1], group[2] = number / grid[0] / grid[1];
    for (unsigned at = 0; at < count; ++at) {
      Item* item = &items[at];
      item->id[0] = at % block[0], item->id[1] = at / block[0] % block[1], item->id[2] = at / block[0] / block[1];
      getcontext(&item->context);
      item->context.uc_stack.ss_sp = stacks + (size_t)at * STACK_BYTES;
      item->context.uc_stack.ss_size = STACK_BYTES;
      item->context.uc_link = &scheduler;
      makecontext(&item->context, enter, 0);
    }
    met = run_group(items, count);
  }
  free(stacks);
  free(items);
  return !met;
}
