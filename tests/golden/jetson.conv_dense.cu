
typedef signed char int8_t;
typedef unsigned char uint8_t;
typedef short int16_t;
typedef unsigned short uint16_t;
typedef int int32_t;
typedef unsigned int uint32_t;
typedef long long int64_t;
typedef unsigned long long uint64_t;

#if (((__CUDACC_VER_MAJOR__ == 11) && (__CUDACC_VER_MINOR__ >= 4)) || \
     (__CUDACC_VER_MAJOR__ > 11))
#define TVM_ENABLE_L2_PREFETCH 1
#else
#define TVM_ENABLE_L2_PREFETCH 0
#endif

#ifdef _WIN32
  using uint = unsigned int;
  using uchar = unsigned char;
  using ushort = unsigned short;
  using int64_t = long long;
  using uint64_t = unsigned long long;
#else
  #define uint unsigned int
  #define uchar unsigned char
  #define ushort unsigned short
#endif

extern "C" __global__ void __launch_bounds__(100, 2)
conv2d_add_relu_kernel(float* __restrict__ pad_temp_ptr, const float* __restrict__ x_ptr) {
  float condval;
  if ((((10 <= ((int)threadIdx.x)) && (((int)threadIdx.x) < 90)) && (1 <= (((int)threadIdx.x) % 10))) && ((((int)threadIdx.x) % 10) < 9)) {
    condval = x_ptr[((((((int)blockIdx.x) * 64) + ((((int)threadIdx.x) / 10) * 8)) + (((int)threadIdx.x) % 10)) - 9)];
  } else {
    condval = 0x0p+0f/*0.000000e+00*/;
  }
  pad_temp_ptr[((((int)blockIdx.x) * 100) + ((int)threadIdx.x))] = condval;
}

extern "C" __global__ void __launch_bounds__(128, 2)
conv2d_add_relu_kernel_1(float* __restrict__ compute_intermediate_ptr, const float* __restrict__ pad_temp_ptr, const float* __restrict__ param_0_ptr, const float* __restrict__ param_1_ptr) {
  alignas(64) float conv2d_nchw_intermediate_local_ptr[4];
  alignas(64) float pad_temp_local_ptr[6];
  alignas(64) float param_0_local_ptr[1];
  conv2d_nchw_intermediate_local_ptr[0] = 0x0p+0f/*0.000000e+00*/;
  conv2d_nchw_intermediate_local_ptr[1] = 0x0p+0f/*0.000000e+00*/;
  conv2d_nchw_intermediate_local_ptr[2] = 0x0p+0f/*0.000000e+00*/;
  conv2d_nchw_intermediate_local_ptr[3] = 0x0p+0f/*0.000000e+00*/;
  for (int ax4 = 0; ax4 < 8; ++ax4) {
    for (int ax5 = 0; ax5 < 3; ++ax5) {
      pad_temp_local_ptr[0] = pad_temp_ptr[((((ax4 * 100) + (((((int)threadIdx.x) & 15) >> 1) * 10)) + (ax5 * 10)) + ((((int)threadIdx.x) & 1) * 4))];
      pad_temp_local_ptr[1] = pad_temp_ptr[(((((ax4 * 100) + (((((int)threadIdx.x) & 15) >> 1) * 10)) + (ax5 * 10)) + ((((int)threadIdx.x) & 1) * 4)) + 1)];
      pad_temp_local_ptr[2] = pad_temp_ptr[(((((ax4 * 100) + (((((int)threadIdx.x) & 15) >> 1) * 10)) + (ax5 * 10)) + ((((int)threadIdx.x) & 1) * 4)) + 2)];
      pad_temp_local_ptr[3] = pad_temp_ptr[(((((ax4 * 100) + (((((int)threadIdx.x) & 15) >> 1) * 10)) + (ax5 * 10)) + ((((int)threadIdx.x) & 1) * 4)) + 3)];
      pad_temp_local_ptr[4] = pad_temp_ptr[(((((ax4 * 100) + (((((int)threadIdx.x) & 15) >> 1) * 10)) + (ax5 * 10)) + ((((int)threadIdx.x) & 1) * 4)) + 4)];
      pad_temp_local_ptr[5] = pad_temp_ptr[(((((ax4 * 100) + (((((int)threadIdx.x) & 15) >> 1) * 10)) + (ax5 * 10)) + ((((int)threadIdx.x) & 1) * 4)) + 5)];
      param_0_local_ptr[0] = param_0_ptr[(((ax4 * 72) + (ax5 * 24)) + (((int)threadIdx.x) >> 4))];
      conv2d_nchw_intermediate_local_ptr[0] = (conv2d_nchw_intermediate_local_ptr[0] + (pad_temp_local_ptr[0] * param_0_local_ptr[0]));
      conv2d_nchw_intermediate_local_ptr[1] = (conv2d_nchw_intermediate_local_ptr[1] + (pad_temp_local_ptr[1] * param_0_local_ptr[0]));
      conv2d_nchw_intermediate_local_ptr[2] = (conv2d_nchw_intermediate_local_ptr[2] + (pad_temp_local_ptr[2] * param_0_local_ptr[0]));
      conv2d_nchw_intermediate_local_ptr[3] = (conv2d_nchw_intermediate_local_ptr[3] + (pad_temp_local_ptr[3] * param_0_local_ptr[0]));
      param_0_local_ptr[0] = param_0_ptr[((((ax4 * 72) + (ax5 * 24)) + (((int)threadIdx.x) >> 4)) + 8)];
      conv2d_nchw_intermediate_local_ptr[0] = (conv2d_nchw_intermediate_local_ptr[0] + (pad_temp_local_ptr[1] * param_0_local_ptr[0]));
      conv2d_nchw_intermediate_local_ptr[1] = (conv2d_nchw_intermediate_local_ptr[1] + (pad_temp_local_ptr[2] * param_0_local_ptr[0]));
      conv2d_nchw_intermediate_local_ptr[2] = (conv2d_nchw_intermediate_local_ptr[2] + (pad_temp_local_ptr[3] * param_0_local_ptr[0]));
      conv2d_nchw_intermediate_local_ptr[3] = (conv2d_nchw_intermediate_local_ptr[3] + (pad_temp_local_ptr[4] * param_0_local_ptr[0]));
      param_0_local_ptr[0] = param_0_ptr[((((ax4 * 72) + (ax5 * 24)) + (((int)threadIdx.x) >> 4)) + 16)];
      conv2d_nchw_intermediate_local_ptr[0] = (conv2d_nchw_intermediate_local_ptr[0] + (pad_temp_local_ptr[2] * param_0_local_ptr[0]));
      conv2d_nchw_intermediate_local_ptr[1] = (conv2d_nchw_intermediate_local_ptr[1] + (pad_temp_local_ptr[3] * param_0_local_ptr[0]));
      conv2d_nchw_intermediate_local_ptr[2] = (conv2d_nchw_intermediate_local_ptr[2] + (pad_temp_local_ptr[4] * param_0_local_ptr[0]));
      conv2d_nchw_intermediate_local_ptr[3] = (conv2d_nchw_intermediate_local_ptr[3] + (pad_temp_local_ptr[5] * param_0_local_ptr[0]));
    }
  }
  float4 __1;
    float4 __2;
      float4 v_ = *(float4*)(conv2d_nchw_intermediate_local_ptr + 0);
      float4 v__1 = make_float4(param_1_ptr[(((int)threadIdx.x) >> 4)], param_1_ptr[(((int)threadIdx.x) >> 4)], param_1_ptr[(((int)threadIdx.x) >> 4)], param_1_ptr[(((int)threadIdx.x) >> 4)]);
      __2.x = (v_.x+v__1.x);
      __2.y = (v_.y+v__1.y);
      __2.z = (v_.z+v__1.z);
      __2.w = (v_.w+v__1.w);
    float4 v__2 = make_float4(0x0p+0f/*0.000000e+00*/, 0x0p+0f/*0.000000e+00*/, 0x0p+0f/*0.000000e+00*/, 0x0p+0f/*0.000000e+00*/);
    __1.x = max(__2.x, v__2.x);
    __1.y = max(__2.y, v__2.y);
    __1.z = max(__2.z, v__2.z);
    __1.w = max(__2.w, v__2.w);
  *(float4*)(compute_intermediate_ptr + (((int)threadIdx.x) * 4)) = __1;
}

extern "C" __global__ void __launch_bounds__(3, 2)
matmul_add_kernel(float* __restrict__ T_add_intermediate_ptr, const float* __restrict__ nflatten_z_ptr, const float* __restrict__ param_0_ptr, const float* __restrict__ param_1_ptr) {
  alignas(64) float matmul_intermediate_local_ptr[4];
  alignas(64) float nflatten_z_local_ptr[4];
  alignas(64) float param_0_local_ptr[4];
  matmul_intermediate_local_ptr[0] = 0x0p+0f/*0.000000e+00*/;
  matmul_intermediate_local_ptr[1] = 0x0p+0f/*0.000000e+00*/;
  matmul_intermediate_local_ptr[2] = 0x0p+0f/*0.000000e+00*/;
  matmul_intermediate_local_ptr[3] = 0x0p+0f/*0.000000e+00*/;
  for (int ax2_0 = 0; ax2_0 < 128; ++ax2_0) {
    *(float4*)(nflatten_z_local_ptr + 0) = *(float4*)(nflatten_z_ptr + (ax2_0 * 4));
    *(float4*)(param_0_local_ptr + 0) = *(float4*)(param_0_ptr + ((ax2_0 * 48) + (((int)threadIdx.x) * 4)));
    matmul_intermediate_local_ptr[0] = (matmul_intermediate_local_ptr[0] + (nflatten_z_local_ptr[0] * param_0_local_ptr[0]));
    matmul_intermediate_local_ptr[1] = (matmul_intermediate_local_ptr[1] + (nflatten_z_local_ptr[0] * param_0_local_ptr[1]));
    matmul_intermediate_local_ptr[2] = (matmul_intermediate_local_ptr[2] + (nflatten_z_local_ptr[0] * param_0_local_ptr[2]));
    matmul_intermediate_local_ptr[3] = (matmul_intermediate_local_ptr[3] + (nflatten_z_local_ptr[0] * param_0_local_ptr[3]));
    *(float4*)(param_0_local_ptr + 0) = *(float4*)(param_0_ptr + (((ax2_0 * 48) + (((int)threadIdx.x) * 4)) + 12));
    matmul_intermediate_local_ptr[0] = (matmul_intermediate_local_ptr[0] + (nflatten_z_local_ptr[1] * param_0_local_ptr[0]));
    matmul_intermediate_local_ptr[1] = (matmul_intermediate_local_ptr[1] + (nflatten_z_local_ptr[1] * param_0_local_ptr[1]));
    matmul_intermediate_local_ptr[2] = (matmul_intermediate_local_ptr[2] + (nflatten_z_local_ptr[1] * param_0_local_ptr[2]));
    matmul_intermediate_local_ptr[3] = (matmul_intermediate_local_ptr[3] + (nflatten_z_local_ptr[1] * param_0_local_ptr[3]));
    *(float4*)(param_0_local_ptr + 0) = *(float4*)(param_0_ptr + (((ax2_0 * 48) + (((int)threadIdx.x) * 4)) + 24));
    matmul_intermediate_local_ptr[0] = (matmul_intermediate_local_ptr[0] + (nflatten_z_local_ptr[2] * param_0_local_ptr[0]));
    matmul_intermediate_local_ptr[1] = (matmul_intermediate_local_ptr[1] + (nflatten_z_local_ptr[2] * param_0_local_ptr[1]));
    matmul_intermediate_local_ptr[2] = (matmul_intermediate_local_ptr[2] + (nflatten_z_local_ptr[2] * param_0_local_ptr[2]));
    matmul_intermediate_local_ptr[3] = (matmul_intermediate_local_ptr[3] + (nflatten_z_local_ptr[2] * param_0_local_ptr[3]));
    *(float4*)(param_0_local_ptr + 0) = *(float4*)(param_0_ptr + (((ax2_0 * 48) + (((int)threadIdx.x) * 4)) + 36));
    matmul_intermediate_local_ptr[0] = (matmul_intermediate_local_ptr[0] + (nflatten_z_local_ptr[3] * param_0_local_ptr[0]));
    matmul_intermediate_local_ptr[1] = (matmul_intermediate_local_ptr[1] + (nflatten_z_local_ptr[3] * param_0_local_ptr[1]));
    matmul_intermediate_local_ptr[2] = (matmul_intermediate_local_ptr[2] + (nflatten_z_local_ptr[3] * param_0_local_ptr[2]));
    matmul_intermediate_local_ptr[3] = (matmul_intermediate_local_ptr[3] + (nflatten_z_local_ptr[3] * param_0_local_ptr[3]));
  }
  float4 __1;
    float4 v_ = *(float4*)(matmul_intermediate_local_ptr + 0);
    float4 v__1 = *(float4*)(param_1_ptr + (((int)threadIdx.x) * 4));
    __1.x = (v_.x+v__1.x);
    __1.y = (v_.y+v__1.y);
    __1.z = (v_.z+v__1.z);
    __1.w = (v_.w+v__1.w);
  *(float4*)(T_add_intermediate_ptr + (((int)threadIdx.x) * 4)) = __1;
}
