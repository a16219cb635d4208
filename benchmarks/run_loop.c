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

enum { STREAMS = 4, WORDS = 8, PAGE = 64 }; /* PAGE: vectors of a page of 4 KiB */

typedef uint64_t vector __attribute__((vector_size(8 * WORDS)));

/* Adds up memory: nothing that reads it all can be much faster. A core reads several streams faster than one, for
 * hardware prefetches within a page of each and starts anew in the next.
 *
 * data: aligned to 64 bytes.
 */
uint64_t read_loop(const uint64_t* data, size_t words, int calls) {
  const size_t steps = words / (STREAMS * WORDS);
  const vector* vectors = (const vector*)data;
  vector sums[STREAMS] = {{0}};
  uint64_t sum = 0;
  for (int call = 0; call < calls; ++call) {
    for (size_t i = 0; i < steps; ++i) {
      for (size_t s = 0; s < STREAMS; ++s) {
        __builtin_prefetch(vectors + s * steps + i + PAGE);
        sums[s] += vectors[s * steps + i];
      }
    }
    for (size_t i = steps * STREAMS * WORDS; i < words; ++i) sum += data[i];
    __asm__ volatile("" : "+r"(sum) : : "memory");
  }
  for (size_t s = 0; s < STREAMS; ++s) {
    for (size_t i = 0; i < WORDS; ++i) sum += sums[s][i];
  }
  return sum;
}

/* Reads memory and writes other memory after it, as a layer does with its input and output.
 *
 * source, target: aligned to 64 bytes. written: words, a multiple of eight.
 */
uint64_t move_loop(const uint64_t* source, size_t words, uint64_t* target, size_t written, int calls) {
  uint64_t sum = 0;
  for (int call = 0; call < calls; ++call) {
    sum += read_loop(source, words, 1);
    const vector value = sum - (vector){0};
    for (size_t i = 0; i < written / WORDS; ++i) ((vector*)target)[i] = value;
    __asm__ volatile("" : : : "memory");
  }
  return sum;
}
