// The built-in functions of OpenCL C that our kernels call, for clang to compile these for the CPU. clang itself
// declares all others: a kernel that calls one does not link. opencl_emulation.c has those that ask for or stop a
// work-item.
#pragma OPENCL EXTENSION cl_khr_fp16 : enable
#define OVERLOAD static inline __attribute__((overloadable))

#define VECTORS_IN(space, type, n)                            \
  OVERLOAD type##n vload##n(size_t at, const space type* p) { \
    return *(const space unaligned_##type##n*)(p + n * at);   \
  }                                                           \
  OVERLOAD void vstore##n(type##n v, size_t at, space type* p) { *(space unaligned_##type##n*)(p + n * at) = v; }
#define VECTORS_OF(type, n)                                                   \
  typedef type##n __attribute__((aligned(sizeof(type)))) unaligned_##type##n; \
  VECTORS_IN(__global, type, n)                                               \
  VECTORS_IN(__local, type, n)                                                \
  VECTORS_IN(__private, type, n)
#define VECTORS(type) \
  VECTORS_OF(type, 2) \
  VECTORS_OF(type, 4) \
  VECTORS_OF(type, 8) \
  VECTORS_OF(type, 16)
VECTORS(half)
VECTORS(float)
VECTORS(int)
VECTORS(uint)
VECTORS(char)
VECTORS(uchar)

OVERLOAD float vload_half(size_t at, const __global half* p) { return p[at]; }

#define BOUNDS_OF(type)                                       \
  OVERLOAD type max(type a, type b) { return a < b ? b : a; } \
  OVERLOAD type min(type a, type b) { return b < a ? b : a; }
#define BOUNDS(type) BOUNDS_OF(type) BOUNDS_OF(type##2) BOUNDS_OF(type##4) BOUNDS_OF(type##8) BOUNDS_OF(type##16)
BOUNDS(half)
BOUNDS(float)
BOUNDS(int)

OVERLOAD float exp(float x) { return __builtin_expf(x); }

#define CONVERSION(to, from, n) \
  OVERLOAD to##n convert_##to##n(from##n v) { return __builtin_convertvector(v, to##n); }
#define CONVERSIONS_OF(to, from)                     \
  OVERLOAD to convert_##to(from v) { return (to)v; } \
  CONVERSION(to, from, 2)                            \
  CONVERSION(to, from, 4)                            \
  CONVERSION(to, from, 8)                            \
  CONVERSION(to, from, 16)
#define CONVERSIONS(to)      \
  CONVERSIONS_OF(to, half)   \
  CONVERSIONS_OF(to, float)  \
  CONVERSIONS_OF(to, char)   \
  CONVERSIONS_OF(to, uchar)  \
  CONVERSIONS_OF(to, ushort) \
  CONVERSIONS_OF(to, int)    \
  CONVERSIONS_OF(to, uint)   \
  CONVERSIONS_OF(to, long)   \
  CONVERSIONS_OF(to, ulong)
CONVERSIONS(half)
CONVERSIONS(float)
CONVERSIONS(char)
CONVERSIONS(uchar)
CONVERSIONS(int)
CONVERSIONS(uint)
CONVERSIONS(long)
OVERLOAD int convert_int(bool v) { return v; }

#pragma OPENCL EXTENSION cl_khr_fp16 : disable  // the program itself has to enable it
