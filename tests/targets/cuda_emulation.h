// Runs CUDA kernels on the CPU, one thread after the other: for kernels without barriers and warp operations only.
#pragma once
#include <algorithm>
#include <cmath>
using std::max;
using std::min;
struct Index3 {
  unsigned x, y, z;
};
static Index3 blockIdx, threadIdx;
#define __global__
#define __device__
#define __restrict__ __restrict
#define __launch_bounds__(...)

template <typename Kernel, typename... Args>
static void emulate(Kernel kernel, const unsigned* grid, const unsigned* block, Args... args) {
  for (blockIdx.z = 0; blockIdx.z < grid[2]; ++blockIdx.z)
    for (blockIdx.y = 0; blockIdx.y < grid[1]; ++blockIdx.y)
      for (blockIdx.x = 0; blockIdx.x < grid[0]; ++blockIdx.x)
        for (threadIdx.z = 0; threadIdx.z < block[2]; ++threadIdx.z)
          for (threadIdx.y = 0; threadIdx.y < block[1]; ++threadIdx.y)
            for (threadIdx.x = 0; threadIdx.x < block[0]; ++threadIdx.x) kernel(args...);
}
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(8) float2 {
  float x, y;
};
static inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
static inline float2 make_float2(float x, float y) { return {x, y}; }
