/* The C interface of NNA models: a library of its own, libtilewright_nna. Internal; NNA.md explains. */
#ifndef TILEWRIGHT_NNA_H
#define TILEWRIGHT_NNA_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define TW_NNA_API __attribute__((visibility("default")))

/* What a base pointer of the device points at. Streams name regions 0 to 7; unused ones have nbytes 0. */
typedef struct tw_nna_region {
  void* data;
  uint64_t nbytes;
  uint32_t writable; /* 0: a write there is an error */
  uint32_t reserved;
} tw_nna_region;

/* Runs an Ethos-U driver payload ("COP1") or an nna-vbd stream ("VBD1") to its end. limit bounds the work: elements
 * read and written plus multiplications; 0 is a generous default. Returns 0, or 1 with the reason in error: then
 * regions hold what was written so far. */
TW_NNA_API int tw_nna_run(const void* payload, size_t nbytes, const tw_nna_region* regions, size_t region_count,
                          uint64_t limit, char* error, size_t error_size);

/* Decodes a weight stream of exactly count weights, in stream order. Returns like tw_nna_run. */
TW_NNA_API int tw_nna_decode_weights(const void* stream, size_t nbytes, int16_t* weights, size_t count, char* error,
                                     size_t error_size);

/* The name of a command by its first word, e.g. "NPU_SET_IFM_REGION", or NULL; words is 1 or 2. */
TW_NNA_API const char* tw_nna_name(uint32_t word, uint32_t* words);

#ifdef __cplusplus
}
#endif

#endif
