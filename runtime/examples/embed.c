/* The least an app needs: load a model, feed it zeros, print the first outputs.
 *
 *     cc embed.c -I../include -L<folder of libtilewright.so> -ltilewright -o embed && ./embed model.tw */
#include <stdio.h>
#include <stdlib.h>
#include <tilewright/tilewright.h>

static void must(tw_status status) {
  if (status == TW_OK) return;
  fprintf(stderr, "%s\n", tw_last_error());
  exit(1);
}

/* Zeros, aligned so that the runtime uses them in place. */
static tw_buffer buffer_for(tw_tensor tensor) {
  tw_buffer buffer = {NULL, tensor.nbytes};
  size_t nbytes = (size_t)(tensor.nbytes + 63) / 64 * 64;
  buffer.data = aligned_alloc(64, nbytes ? nbytes : 64);
  for (size_t i = 0; buffer.data && i < nbytes; ++i) ((char*)buffer.data)[i] = 0;
  return buffer;
}

int main(int argc, char** argv) {
  tw_session* session;
  tw_buffer inputs[8], outputs[8];
  tw_tensor tensor;
  if (argc != 2) return fprintf(stderr, "usage: %s model.tw\n", argv[0]), 2;
  must(tw_load_file(argv[1], NULL, &session));

  size_t input_count = tw_input_count(session), output_count = tw_output_count(session);
  if (input_count > 8 || output_count > 8) return fprintf(stderr, "at most 8 inputs and outputs here\n"), 1;
  for (size_t i = 0; i < input_count; ++i) {
    must(tw_input(session, i, &tensor));
    inputs[i] = buffer_for(tensor);
  }
  for (size_t i = 0; i < output_count; ++i) {
    must(tw_output(session, i, &tensor));
    outputs[i] = buffer_for(tensor);
  }

  must(tw_run(session, inputs, input_count, outputs, output_count));

  for (size_t i = 0; i < output_count; ++i) {
    must(tw_output(session, i, &tensor));
    printf("%s:", tensor.name);
    for (uint64_t k = 0; tensor.dtype == TW_FLOAT32 && k < 10 && k * 4 < tensor.nbytes; ++k)
      printf(" %g", ((float*)outputs[i].data)[k]);
    printf("\n");
    free(outputs[i].data);
  }
  for (size_t i = 0; i < input_count; ++i) free(inputs[i].data);
  tw_free(session);
  return 0;
}
