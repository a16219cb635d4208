/* call_overhead RUNTIME MODEL ROUNDS CALLS: nanoseconds of one tw_run, a line a round. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <tilewright/tilewright.h>
#include <time.h>

#define GET(name) __typeof__(name)* p_##name = (__typeof__(name)*)dlsym(library, #name)

static double now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

int main(int argc, char** argv) {
  if (argc != 5) return fprintf(stderr, "usage: %s RUNTIME MODEL ROUNDS CALLS\n", argv[0]), 2;
  void* library = dlopen(argv[1], RTLD_NOW);
  if (!library) return fprintf(stderr, "%s\n", dlerror()), 1;
  GET(tw_load_file);
  GET(tw_run);
  GET(tw_last_error);
  tw_session* session;
  if (p_tw_load_file(argv[2], NULL, &session)) return fprintf(stderr, "%s\n", p_tw_last_error()), 1;
  static float memory[32] __attribute__((aligned(64)));
  tw_buffer input = {memory, 16}, output = {memory + 16, 16};
  const int rounds = atoi(argv[3]), calls = atoi(argv[4]);
  for (int round = 0; round < rounds; ++round) {
    double start = now_ns();
    for (int call = 0; call < calls; ++call)
      if (p_tw_run(session, &input, 1, &output, 1)) return fprintf(stderr, "%s\n", p_tw_last_error()), 1;
    printf("%.1f\n", (now_ns() - start) / calls);
  }
  return 0;
}
