/* tw_run, called again and again: what an application in C sees of a run. */
#include <tilewright/tilewright.h>

typedef __typeof__(&tw_run) run_function;

int run_loop(run_function run, tw_session* session, const tw_buffer* input, const tw_buffer* output, int calls) {
  for (int call = 0; call < calls; ++call) {
    const int status = run(session, input, 1, output, 1);
    if (status) return status;
  }
  return TW_OK;
}
