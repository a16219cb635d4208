// The part of OpenCL 1.2 that the runtime uses, declared from the Khronos specification, opened with dlopen.
#pragma once

#include <cstddef>
#include <cstdint>

namespace tw::cl {

using Int = int32_t;
using Uint = uint32_t;
using Ulong = uint64_t;
using Bool = Uint;
using Flags = Ulong;  // every bit field
using Property = intptr_t;
using Platform = struct PlatformObject*;
using Device = struct DeviceObject*;
using Context = struct ContextObject*;
using Queue = struct QueueObject*;
using Mem = struct MemObject*;
using Program = struct ProgramObject*;
using Kernel = struct KernelObject*;
using Event = struct EventObject*;

struct Region {
  size_t origin, size;
};

struct ImageFormat {
  Uint order, type;
};

struct ImageDescription {
  Uint type;
  size_t width, height, depth, array_size, row_pitch, slice_pitch;
  Uint mip_levels, samples;
  Mem buffer;
};

enum : Uint {
  kSuccess = 0,
  kPlatformVersion = 0x0901,
  kPlatformName = 0x0902,
  kDeviceTypeKey = 0x1000,
  kDeviceMaxMemAlloc = 0x1010,
  kDeviceImageSupport = 0x1016,
  kDeviceBaseAddrAlign = 0x1019,
  kDeviceName = 0x102B,
  kDriverVersion = 0x102D,
  kDeviceVersion = 0x102F,
  kDeviceExtensions = 0x1030,
  kDeviceImageMaxBufferSize = 0x1040,
  kRgba = 0x10B5,
  kSignedInt32 = 0x10D9,
  kUnsignedInt32 = 0x10DC,
  kHalfFloat = 0x10DD,
  kFloat = 0x10DE,
  kImage1dBuffer = 0x10F6,
  kProgramBinarySizes = 0x1165,
  kProgramBinaries = 0x1166,
  kProgramBuildLog = 0x1183,
  kKernelNumArgs = 0x1191,
  kKernelWorkGroupSize = 0x11B0,
  kBufferCreateRegion = 0x1220,
  kProfilingStart = 0x1282,
  kProfilingEnd = 0x1283,
  kBlocking = 1
};
constexpr Flags kDeviceTypeGpu = 4, kDeviceTypeAll = 0xFFFFFFFF;
constexpr Flags kQueueProfiling = 2;
constexpr Flags kMemReadWrite = 1, kMemReadOnly = 4, kMemAllocHostPtr = 16, kMemCopyHostPtr = 32;

// X(result, name, parameters)
#define TW_OPENCL_FUNCTIONS(X)                                                                              \
  X(Int, clGetPlatformIDs, (Uint, Platform*, Uint*))                                                        \
  X(Int, clGetPlatformInfo, (Platform, Uint, size_t, void*, size_t*))                                       \
  X(Int, clGetDeviceIDs, (Platform, Flags, Uint, Device*, Uint*))                                           \
  X(Int, clGetDeviceInfo, (Device, Uint, size_t, void*, size_t*))                                           \
  X(Context, clCreateContext,                                                                               \
    (const Property*, Uint, const Device*, void (*)(const char*, const void*, size_t, void*), void*, Int*)) \
  X(Int, clReleaseContext, (Context))                                                                       \
  X(Queue, clCreateCommandQueue, (Context, Device, Flags, Int*))                                            \
  X(Int, clReleaseCommandQueue, (Queue))                                                                    \
  X(Mem, clCreateBuffer, (Context, Flags, size_t, void*, Int*))                                             \
  X(Mem, clCreateSubBuffer, (Mem, Flags, Uint, const void*, Int*))                                          \
  X(Mem, clCreateImage, (Context, Flags, const ImageFormat*, const ImageDescription*, void*, Int*))         \
  X(Int, clReleaseMemObject, (Mem))                                                                         \
  X(Program, clCreateProgramWithSource, (Context, Uint, const char**, const size_t*, Int*))                 \
  X(Program, clCreateProgramWithBinary,                                                                     \
    (Context, Uint, const Device*, const size_t*, const unsigned char**, Int*, Int*))                       \
  X(Int, clBuildProgram, (Program, Uint, const Device*, const char*, void (*)(Program, void*), void*))      \
  X(Int, clGetProgramBuildInfo, (Program, Device, Uint, size_t, void*, size_t*))                            \
  X(Int, clGetProgramInfo, (Program, Uint, size_t, void*, size_t*))                                         \
  X(Int, clReleaseProgram, (Program))                                                                       \
  X(Kernel, clCreateKernel, (Program, const char*, Int*))                                                   \
  X(Int, clSetKernelArg, (Kernel, Uint, size_t, const void*))                                               \
  X(Int, clGetKernelInfo, (Kernel, Uint, size_t, void*, size_t*))                                           \
  X(Int, clGetKernelWorkGroupInfo, (Kernel, Device, Uint, size_t, void*, size_t*))                          \
  X(Int, clReleaseKernel, (Kernel))                                                                         \
  X(Int, clEnqueueNDRangeKernel,                                                                            \
    (Queue, Kernel, Uint, const size_t*, const size_t*, const size_t*, Uint, const Event*, Event*))         \
  X(Int, clEnqueueCopyBuffer, (Queue, Mem, Mem, size_t, size_t, size_t, Uint, const Event*, Event*))        \
  X(Int, clEnqueueWriteBuffer, (Queue, Mem, Bool, size_t, size_t, const void*, Uint, const Event*, Event*)) \
  X(Int, clEnqueueReadBuffer, (Queue, Mem, Bool, size_t, size_t, void*, Uint, const Event*, Event*))        \
  X(Int, clGetEventProfilingInfo, (Event, Uint, size_t, void*, size_t*))                                    \
  X(Int, clReleaseEvent, (Event))                                                                           \
  X(Int, clFinish, (Queue))

struct Api {
#define X(result, name, parameters) result(*name) parameters = nullptr;
  TW_OPENCL_FUNCTIONS(X)
#undef X
};

// The system's OpenCL, or null when there is none.
const Api* api();

const char* error_name(Int code);

// Throws Error(TW_DEVICE) naming the call and what it was for.
void check(Int code, const char* call, const char* what = "");

}  // namespace tw::cl
