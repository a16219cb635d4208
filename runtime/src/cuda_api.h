// The part of the CUDA driver API that the runtime uses, declared from NVIDIA's documentation, opened with
// dlopen.
#pragma once

#include <cstddef>
#include <cstdint>

namespace tw::cuda {

using Result = int;
using Device = int;
using Pointer = uint64_t;  // CUdeviceptr
using Context = struct ContextObject*;
using Module = struct ModuleObject*;
using Function = struct FunctionObject*;
using Stream = struct StreamObject*;
using Event = struct EventObject*;

enum Attribute : int { kMajor = 75, kMinor = 76 };
enum JitOption : int { kJitErrorLog = 5, kJitErrorLogBytes = 6 };
constexpr unsigned kNonBlocking = 1;  // stream flag: no implicit order with the default stream

// X(name in the library, our name, parameters)
#define TW_CUDA_FUNCTIONS(X)                                                                                  \
  X(cuInit, init, (unsigned))                                                                                 \
  X(cuDriverGetVersion, driver_version, (int*))                                                               \
  X(cuGetErrorName, error_name, (Result, const char**))                                                       \
  X(cuDeviceGetCount, device_count, (int*))                                                                   \
  X(cuDeviceGet, device_get, (Device*, int))                                                                  \
  X(cuDeviceGetName, device_name, (char*, int, Device))                                                       \
  X(cuDeviceGetAttribute, device_attribute, (int*, Attribute, Device))                                        \
  X(cuDevicePrimaryCtxRetain, context_retain, (Context*, Device))                                             \
  X(cuDevicePrimaryCtxRelease_v2, context_release, (Device))                                                  \
  X(cuCtxPushCurrent_v2, context_push, (Context))                                                             \
  X(cuCtxPopCurrent_v2, context_pop, (Context*))                                                              \
  X(cuStreamCreate, stream_create, (Stream*, unsigned))                                                       \
  X(cuStreamDestroy_v2, stream_destroy, (Stream))                                                             \
  X(cuStreamSynchronize, stream_synchronize, (Stream))                                                        \
  X(cuMemAlloc_v2, alloc, (Pointer*, size_t))                                                                 \
  X(cuMemFree_v2, free, (Pointer))                                                                            \
  X(cuMemcpyHtoDAsync_v2, copy_in, (Pointer, const void*, size_t, Stream))                                    \
  X(cuMemcpyDtoHAsync_v2, copy_out, (void*, Pointer, size_t, Stream))                                         \
  X(cuMemcpyDtoDAsync_v2, copy, (Pointer, Pointer, size_t, Stream))                                           \
  X(cuModuleLoadDataEx, module_load, (Module*, const void*, unsigned, JitOption*, void**))                    \
  X(cuModuleUnload, module_unload, (Module))                                                                  \
  X(cuModuleGetFunction, module_function, (Function*, Module, const char*))                                   \
  X(cuLaunchKernel, launch,                                                                                   \
    (Function, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, Stream, void**, void**)) \
  X(cuEventCreate, event_create, (Event*, unsigned))                                                          \
  X(cuEventRecord, event_record, (Event, Stream))                                                             \
  X(cuEventElapsedTime, event_elapsed, (float*, Event, Event))                                                \
  X(cuEventDestroy_v2, event_destroy, (Event))

struct Api {
#define X(symbol, name, parameters) Result(*name) parameters = nullptr;
  TW_CUDA_FUNCTIONS(X)
#undef X
};

// The driver, initialised, or null when there is none or it finds no device.
const Api* api();

// Throws Error(TW_DEVICE) naming the call and what it was for.
void check(Result code, const char* call, const char* what = "");

}  // namespace tw::cuda
