/* Tilewright runtime: loads an artifact and runs it. C ABI, version TW_API_VERSION.
 *
 * Conventions
 *   - Functions that can fail return a tw_status; tw_last_error() then explains, per thread.
 *   - Structs that may grow start with struct_bytes: set it to sizeof the struct that you compiled against.
 *   - Strings and arrays returned from a session live as long as the session, unless said otherwise.
 *   - Any function may be called from any thread. A session runs one tw_run at a time (others wait);
 *     different sessions run concurrently. tw_free must not overlap another call on the same session.
 *   - Little-endian 64-bit hosts only.
 *
 * An artifact for the cpu back end holds machine code. The loader guards against damage, not against malice
 * inside that code: load only artifacts that you would also trust as a shared library. */
#ifndef TILEWRIGHT_TILEWRIGHT_H
#define TILEWRIGHT_TILEWRIGHT_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define TW_API __attribute__((visibility("default")))
#else
#define TW_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Raised when a function is added; raised by 1000 when anything here changes meaning. */
#define TW_API_VERSION 1
TW_API uint32_t tw_api_version(void);

typedef enum tw_status {
  TW_OK = 0,
  TW_USAGE = 1,    /* a wrong argument */
  TW_ARTIFACT = 2, /* a damaged, hostile or too new artifact */
  TW_DEVICE = 3,   /* no such device, no driver, a missing CPU feature, or the driver failed */
  TW_MEMORY = 4,   /* out of memory, or over tw_options.memory_limit */
  TW_KERNEL = 5,   /* a kernel reported a failure */
  TW_IO = 6        /* a file could not be read or written */
} tw_status;

/* What went wrong in this thread's last failed call; "" if none failed. Valid until the next failure here. */
TW_API const char* tw_last_error(void);

/* ---- loading ---- */

typedef struct tw_session tw_session;

enum {
  TW_TRUSTED = 1u,   /* skip the checksums: for bytes that were verified before; structure is still checked */
  TW_PROFILE = 2u,   /* start with profiling on, see tw_profile_enable */
  TW_REJECT_NAN = 4u /* tw_run returns TW_USAGE for a float input that holds NaN */
};

typedef struct tw_options {
  uint32_t struct_bytes;
  uint32_t flags;
  int32_t threads;       /* cpu: threads that one run may use, the caller's included; 0: one per usable core */
  const char* device;    /* NULL or "": first that fits; else index or part of a name from tw_device */
  const char* cache_dir; /* compiled OpenCL programs; NULL: $TILEWRIGHT_CACHE_DIR, $XDG_CACHE_HOME/tilewright or
                            ~/.cache/tilewright; "": no cache */
  uint64_t memory_limit; /* bytes that the session may allocate; 0: the machine's physical memory */
} tw_options;

/* Sets struct_bytes and the defaults: no flags, one thread, no device preference. */
TW_API void tw_options_init(tw_options* options);

/* Loads an artifact from memory, which must stay mapped and unchanged until tw_free. Weights are used in
 * place where `bytes` is aligned to 64, else copied; compressed ones are expanded, once, for this session.
 * options may be NULL. On failure *session is NULL. */
TW_API tw_status tw_load(const void* bytes, size_t nbytes, const tw_options* options, tw_session** session);

/* The same for a file, which is mapped read-only. Do not change it in place while it is loaded: replace it.
 */
TW_API tw_status tw_load_file(const char* path, const tw_options* options, tw_session** session);

/* Frees a session; NULL is allowed. */
TW_API void tw_free(tw_session* session);

/* ---- what the model takes and gives ---- */

typedef enum tw_dtype {
  TW_BOOL = 0,
  TW_INT8 = 1,
  TW_UINT8 = 2,
  TW_INT16 = 3,
  TW_UINT16 = 4,
  TW_INT32 = 5,
  TW_UINT32 = 6,
  TW_INT64 = 7,
  TW_UINT64 = 8,
  TW_FLOAT16 = 9,
  TW_FLOAT32 = 10,
  TW_FLOAT64 = 11
} tw_dtype;

typedef struct tw_tensor {
  const char* name;
  const uint64_t* shape; /* row-major, rank numbers */
  uint32_t rank;
  uint32_t dtype; /* tw_dtype */
  uint64_t nbytes;
} tw_tensor;

TW_API size_t tw_input_count(const tw_session* session);
TW_API size_t tw_output_count(const tw_session* session);
TW_API tw_status tw_input(const tw_session* session, size_t index, tw_tensor* tensor);
TW_API tw_status tw_output(const tw_session* session, size_t index, tw_tensor* tensor);

/* The artifact's metadata, UTF-8 JSON, not NUL-terminated. */
TW_API const char* tw_metadata(const tw_session* session, size_t* nbytes);

/* ---- running ---- */

typedef struct tw_buffer {
  void* data; /* inputs are only read */
  uint64_t nbytes;
} tw_buffer;

/* Runs the model once; blocks until the outputs are written. Buffers come in the model's order and must have
 * exactly the tensors' sizes. On the cpu, buffers aligned to 64 bytes are used in place, others are copied
 * through memory set aside at load: nothing is allocated. Outputs must not overlap inputs or each other. */
TW_API tw_status tw_run(tw_session* session, const tw_buffer* inputs, size_t input_count, const tw_buffer* outputs,
                        size_t output_count);

/* Runs the artifact's bundled self-test. *error is the greatest relative L2 error of an output and *tolerance
 * what the artifact allows. TW_USAGE if it has none; TW_KERNEL if error > tolerance or is not a number. */
TW_API tw_status tw_selftest(tw_session* session, double* error, double* tolerance);

/* ---- profile ---- */

typedef struct tw_profile_entry {
  const char* kernel;
  const char* layers; /* names of the model's layers computed here, separated by ", " */
  uint64_t runs;
  uint64_t total_ns;               /* device time on OpenCL and CUDA, host time on the cpu */
  uint64_t last_start_ns, last_ns; /* in the last run, relative to its start */
} tw_profile_entry;

/* Switches per-kernel timing on or off and clears what was gathered. */
TW_API tw_status tw_profile_enable(tw_session* session, int on);
TW_API size_t tw_profile_count(const tw_session* session); /* launches of one run */
TW_API tw_status tw_profile(const tw_session* session, size_t index, tw_profile_entry* entry);

/* Writes the last profiled run as Chrome trace JSON (chrome://tracing, Perfetto). */
TW_API tw_status tw_trace_write(const tw_session* session, const char* path);

typedef struct tw_stats {
  uint32_t struct_bytes;
  uint32_t threads;
  uint64_t arena_bytes;    /* activations */
  uint64_t constant_bytes; /* weights */
  uint64_t owned_bytes;    /* all that the session allocated for tensors, on host and device */
  uint64_t runs;
  uint32_t programs_compiled; /* OpenCL programs compiled from source at load */
  uint32_t programs_cached;   /* OpenCL programs taken from the binary cache */
  uint64_t static_bytes;      /* weights that were computed at load */
} tw_stats;

TW_API tw_status tw_session_stats(const tw_session* session, tw_stats* stats);
TW_API const char* tw_session_target(const tw_session* session); /* e.g. "mali-g78" */
TW_API const char* tw_session_device(const tw_session* session); /* what it runs on */

/* ---- devices ---- */

typedef struct tw_device_info {
  char backend[16]; /* "cpu", "opencl" or "cuda" */
  char name[256];
  char driver[256]; /* driver and platform; on the cpu its features, separated by spaces */
} tw_device_info;

/* Lists devices; index counts over all back ends. Returns TW_USAGE past the end. */
TW_API tw_status tw_device(size_t index, tw_device_info* info);

#ifdef __cplusplus
}
#endif
#endif
