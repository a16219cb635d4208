/* Stands in for NVIDIA's driver (libcuda.so.1) in a test: device memory is host memory, the two kernels that the test
 * knows are C functions, streams execute at once, and every call is printed to the file that FAKE_CUDA_LOG names.
 * FAKE_CUDA_FAIL=<call> makes that call fail with error 719. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static FILE* log_file(void) {
  static FILE* file;
  if (!file) file = fopen(getenv("FAKE_CUDA_LOG"), "a");
  return file;
}

static int done(const char* call, const char* detail) {
  const char* fail = getenv("FAKE_CUDA_FAIL");
  fprintf(log_file(), "%s %s\n", call, detail);
  fflush(log_file());
  return fail && !strcmp(fail, call) ? 719 : 0;
}

static int depth; /* of the context stack */

int cuInit(unsigned flags) { return done("cuInit", ""); }
int cuDriverGetVersion(int* version) { return *version = 12060, 0; }
int cuGetErrorName(int code, const char** name) {
  return *name = code == 719 ? "CUDA_ERROR_LAUNCH_FAILED" : "CUDA_ERROR", 0;
}
int cuDeviceGetCount(int* count) { return *count = 2, 0; }
int cuDeviceGet(int* device, int index) { return *device = index, 0; }
int cuDeviceGetName(char* name, int size, int device) {
  return snprintf(name, (size_t)size, device ? "Fake Orin" : "Fake Nano") < 0;
}
int cuDeviceGetAttribute(int* value, int key, int device) {
  *value = key == 75 ? (device ? 8 : 5) : (device ? 7 : 3); /* sm_87 and sm_53 */
  return key != 75 && key != 76;
}
int cuDevicePrimaryCtxRetain(void** context, int device) {
  return *context = &depth, done("cuDevicePrimaryCtxRetain", device ? "1" : "0");
}
int cuDevicePrimaryCtxRelease_v2(int device) { return done("cuDevicePrimaryCtxRelease", depth ? "inside" : ""); }
int cuCtxPushCurrent_v2(void* context) { return ++depth, context != &depth; }
int cuCtxPopCurrent_v2(void** context) { return --depth, 0; }
int cuStreamCreate(void** stream, unsigned flags) { return *stream = malloc(1), done("cuStreamCreate", ""); }
int cuStreamDestroy_v2(void* stream) { return free(stream), done("cuStreamDestroy", ""); }
int cuStreamSynchronize(void* stream) { return done("cuStreamSynchronize", ""); }
int cuMemAlloc_v2(uint64_t* pointer, size_t size) {
  char text[32];
  snprintf(text, sizeof text, "%zu", size);
  *pointer = (uint64_t)(uintptr_t)aligned_alloc(256, (size + 255) / 256 * 256);
  return done("cuMemAlloc", text);
}
int cuMemFree_v2(uint64_t pointer) { return free((void*)(uintptr_t)pointer), done("cuMemFree", ""); }
int cuMemcpyHtoDAsync_v2(uint64_t to, const void* from, size_t size, void* stream) {
  memcpy((void*)(uintptr_t)to, from, size);
  return done("cuMemcpyHtoDAsync", "");
}
int cuMemcpyDtoHAsync_v2(void* to, uint64_t from, size_t size, void* stream) {
  memcpy(to, (void*)(uintptr_t)from, size);
  return done("cuMemcpyDtoHAsync", "");
}
int cuMemcpyDtoDAsync_v2(uint64_t to, uint64_t from, size_t size, void* stream) {
  memcpy((void*)(uintptr_t)to, (void*)(uintptr_t)from, size);
  return done("cuMemcpyDtoDAsync", "");
}

int cuModuleLoadDataEx(void** module, const void* image, unsigned count, int* keys, void** values) {
  *module = malloc(1);
  if (strstr(image, "broken")) {
    snprintf(values[0], (size_t)values[1], "ptxas: line 1: syntax error");
    free(*module);
    return 218;
  }
  return done("cuModuleLoadDataEx", image);
}
int cuModuleUnload(void* module) { return free(module), done("cuModuleUnload", ""); }

static void add(float** a) {
  for (int i = 0; i < 8; ++i) a[2][i] = a[0][i] + a[1][i];
}
static void relu(float** a) {
  for (int i = 0; i < 8; ++i) a[1][i] = a[0][i] > 0 ? a[0][i] : 0;
}
int cuModuleGetFunction(void** function, void* module, const char* name) {
  *function = !strcmp(name, "add") ? (void*)add : !strcmp(name, "relu") ? (void*)relu : NULL;
  return *function ? done("cuModuleGetFunction", name) : 500;
}
int cuLaunchKernel(void* function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                   unsigned shared, void* stream, void** arguments, void** extra) {
  char text[64];
  float* pointers[3] = {0};
  snprintf(text, sizeof text, "%ux%ux%u %ux%ux%u", gx, gy, gz, bx, by, bz);
  for (int i = 0; i < (function == (void*)add ? 3 : 2); ++i) pointers[i] = *(float**)arguments[i];
  ((void (*)(float**))function)(pointers);
  return done("cuLaunchKernel", text);
}

int cuEventCreate(void** event, unsigned flags) { return *event = calloc(1, sizeof(int)), done("cuEventCreate", ""); }
int cuEventDestroy_v2(void* event) { return free(event), done("cuEventDestroy", ""); }
int cuEventRecord(void* event, void* stream) {
  static int time;
  *(int*)event = ++time;
  return done("cuEventRecord", "");
}
int cuEventElapsedTime(float* ms, void* from, void* to) { return *ms = (float)(*(int*)to - *(int*)from) / 1000, 0; }
