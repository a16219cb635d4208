/* Loops to time: tw_run as an application in C calls it, and the least that anything can do with its weights. */
#include <stddef.h>
#include <stdint.h>
#include <tilewright/tilewright.h>

typedef __typeof__(&tw_run) run_function;

int run_loop(run_function run, tw_session* session, const tw_buffer* input, const tw_buffer* output, int calls) {
  for (int call = 0; call < calls; ++call) {
    const int status = run(session, input, 1, output, 1);
    if (status) return status;
  }
  return TW_OK;
}

/* Adds up memory: nothing that reads it all can be faster. */
uint64_t read_loop(const uint64_t* data, size_t words, int calls) {
  uint64_t sum = 0;
  for (int call = 0; call < calls; ++call) {
    for (size_t i = 0; i < words; ++i) sum += data[i];
    __asm__ volatile("" : "+r"(sum) : : "memory");
  }
  return sum;
}
