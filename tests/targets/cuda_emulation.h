// Runs CUDA kernels on the CPU: the threads of a block as threads of the system, blocks one after the other. For
// kernels without warp operations and atomics.
#pragma once
#include <pthread.h>

#include <algorithm>
#include <cmath>
#include <thread>
#include <vector>

#include "half_emulation.h"
using std::max;
using std::min;
typedef unsigned char uchar;
typedef unsigned short ushort;
struct Index3 {
  unsigned x, y, z;
};
static Index3 blockIdx;
static thread_local Index3 threadIdx;
static pthread_barrier_t emulated_barrier;
static inline void __syncthreads() { pthread_barrier_wait(&emulated_barrier); }
#define __global__
#define __device__
#define __forceinline__ inline
#define __shared__ static
#define alignas(bytes) __attribute__((aligned(bytes)))  // the keyword may not follow ``static``
#define __restrict__ __restrict
#define __launch_bounds__(...)

template <typename Kernel, typename... Args>
static void emulate(Kernel kernel, const unsigned* grid, const unsigned* block, Args... args) {
  const unsigned size = block[0] * block[1] * block[2];
  pthread_barrier_t ends;
  pthread_barrier_init(&ends, nullptr, size);
  pthread_barrier_init(&emulated_barrier, nullptr, size);
  const auto thread = [&](unsigned number) {
    threadIdx = {number % block[0], number / block[0] % block[1], number / block[0] / block[1]};
    for (unsigned z = 0; z < grid[2]; ++z)
      for (unsigned y = 0; y < grid[1]; ++y)
        for (unsigned x = 0; x < grid[0]; ++x) {
          if (number == 0) blockIdx = {x, y, z};
          pthread_barrier_wait(&ends);
          kernel(args...);
          pthread_barrier_wait(&ends);
        }
  };
  std::vector<std::thread> threads;
  for (unsigned number = 0; number < size; ++number) threads.emplace_back(thread, number);
  for (std::thread& one : threads) one.join();
  pthread_barrier_destroy(&ends);
  pthread_barrier_destroy(&emulated_barrier);
}
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(8) float2 {
  float x, y;
};
static inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
static inline float2 make_float2(float x, float y) { return {x, y}; }
struct alignas(16) int4 {
  int x, y, z, w;
};
static inline int4 make_int4(int x, int y, int z, int w) { return {x, y, z, w}; }
static inline int __dp4a(int a, int b, int sum) {
  for (int at = 0; at < 32; at += 8) sum += (signed char)(a >> at) * (signed char)(b >> at);
  return sum;
}
struct alignas(8) int2 {
  int x, y;
};
static inline int2 make_int2(int x, int y) { return {x, y}; }
struct alignas(2) uchar2 {
  uchar x, y;
};
struct alignas(4) uchar4 {
  uchar x, y, z, w;
};
