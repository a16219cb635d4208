
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
      *(float2*)(pad_temp_local_ptr + 0) = *(float2*)(pad_temp_ptr + ((((ax4 * 100) + (((((int)threadIdx.x) & 15) >> 1) * 10)) + (ax5 * 10)) + ((((int)threadIdx.x) & 1) * 4)));
      *(float2*)(pad_temp_local_ptr + 2) = *(float2*)(pad_temp_ptr + (((((ax4 * 100) + (((((int)threadIdx.x) & 15) >> 1) * 10)) + (ax5 * 10)) + ((((int)threadIdx.x) & 1) * 4)) + 2));
      *(float2*)(pad_temp_local_ptr + 4) = *(float2*)(pad_temp_ptr + (((((ax4 * 100) + (((((int)threadIdx.x) & 15) >> 1) * 10)) + (ax5 * 10)) + ((((int)threadIdx.x) & 1) * 4)) + 4));
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

extern "C" __global__ void __launch_bounds__(96, 2)
compressed_add_kernel(float* __restrict__ T_add_intermediate_ptr, const float* __restrict__ nflatten_z_ptr, const float* __restrict__ param_0_ptr, const float* __restrict__ param_1_ptr) {
  alignas(64) float total_ptr[4];
  alignas(64) float acc_ptr[16];
  alignas(64) float x_ptr[4];
  __shared__ alignas(64) float sums_ptr[384];
  *(float4*)(total_ptr + 0) = make_float4(0x0p+0f/*0.000000e+00*/, 0x0p+0f/*0.000000e+00*/, 0x0p+0f/*0.000000e+00*/, 0x0p+0f/*0.000000e+00*/);
  *(float4*)(acc_ptr + 0) = make_float4(0x0p+0f/*0.000000e+00*/, 0x0p+0f/*0.000000e+00*/, 0x0p+0f/*0.000000e+00*/, 0x0p+0f/*0.000000e+00*/);
  *(float4*)(acc_ptr + 4) = make_float4(0x0p+0f/*0.000000e+00*/, 0x0p+0f/*0.000000e+00*/, 0x0p+0f/*0.000000e+00*/, 0x0p+0f/*0.000000e+00*/);
  *(float4*)(acc_ptr + 8) = make_float4(0x0p+0f/*0.000000e+00*/, 0x0p+0f/*0.000000e+00*/, 0x0p+0f/*0.000000e+00*/, 0x0p+0f/*0.000000e+00*/);
  *(float4*)(acc_ptr + 12) = make_float4(0x0p+0f/*0.000000e+00*/, 0x0p+0f/*0.000000e+00*/, 0x0p+0f/*0.000000e+00*/, 0x0p+0f/*0.000000e+00*/);
  float4 word = *(float4*)(param_0_ptr + ((((int)threadIdx.y) * 192) + (((int)threadIdx.x) * 4)));
  float4 word_1 = *(float4*)(param_0_ptr + (((((int)threadIdx.y) * 192) + (((int)threadIdx.x) * 4)) + 12));
  float4 word_2 = *(float4*)(param_0_ptr + (((((int)threadIdx.y) * 192) + (((int)threadIdx.x) * 4)) + 24));
  float4 word_3 = *(float4*)(param_0_ptr + (((((int)threadIdx.y) * 192) + (((int)threadIdx.x) * 4)) + 36));
  *(float4*)(x_ptr + 0) = *(float4*)(nflatten_z_ptr + (((int)threadIdx.y) * 16));
  float4 __1;
    float4 v_ = *(float4*)(acc_ptr + 0);
    float4 __2;
      float4 v__1 = make_float4(x_ptr[0], x_ptr[0], x_ptr[0], x_ptr[0]);
      __2.x = (v__1.x*word.x);
      __2.y = (v__1.y*word.y);
      __2.z = (v__1.z*word.z);
      __2.w = (v__1.w*word.w);
    __1.x = (v_.x+__2.x);
    __1.y = (v_.y+__2.y);
    __1.z = (v_.z+__2.z);
    __1.w = (v_.w+__2.w);
  *(float4*)(acc_ptr + 0) = __1;
  float4 __3;
    float4 v__2 = *(float4*)(acc_ptr + 4);
    float4 __4;
      float4 v__3 = make_float4(x_ptr[1], x_ptr[1], x_ptr[1], x_ptr[1]);
      __4.x = (v__3.x*word_1.x);
      __4.y = (v__3.y*word_1.y);
      __4.z = (v__3.z*word_1.z);
      __4.w = (v__3.w*word_1.w);
    __3.x = (v__2.x+__4.x);
    __3.y = (v__2.y+__4.y);
    __3.z = (v__2.z+__4.z);
    __3.w = (v__2.w+__4.w);
  *(float4*)(acc_ptr + 4) = __3;
  float4 __5;
    float4 v__4 = *(float4*)(acc_ptr + 8);
    float4 __6;
      float4 v__5 = make_float4(x_ptr[2], x_ptr[2], x_ptr[2], x_ptr[2]);
      __6.x = (v__5.x*word_2.x);
      __6.y = (v__5.y*word_2.y);
      __6.z = (v__5.z*word_2.z);
      __6.w = (v__5.w*word_2.w);
    __5.x = (v__4.x+__6.x);
    __5.y = (v__4.y+__6.y);
    __5.z = (v__4.z+__6.z);
    __5.w = (v__4.w+__6.w);
  *(float4*)(acc_ptr + 8) = __5;
  float4 __7;
    float4 v__6 = *(float4*)(acc_ptr + 12);
    float4 __8;
      float4 v__7 = make_float4(x_ptr[3], x_ptr[3], x_ptr[3], x_ptr[3]);
      __8.x = (v__7.x*word_3.x);
      __8.y = (v__7.y*word_3.y);
      __8.z = (v__7.z*word_3.z);
      __8.w = (v__7.w*word_3.w);
    __7.x = (v__6.x+__8.x);
    __7.y = (v__6.y+__8.y);
    __7.z = (v__6.z+__8.z);
    __7.w = (v__6.w+__8.w);
  *(float4*)(acc_ptr + 12) = __7;
  float4 word_4 = *(float4*)(param_0_ptr + (((((int)threadIdx.y) * 192) + (((int)threadIdx.x) * 4)) + 48));
  float4 word_5 = *(float4*)(param_0_ptr + (((((int)threadIdx.y) * 192) + (((int)threadIdx.x) * 4)) + 60));
  float4 word_6 = *(float4*)(param_0_ptr + (((((int)threadIdx.y) * 192) + (((int)threadIdx.x) * 4)) + 72));
  float4 word_7 = *(float4*)(param_0_ptr + (((((int)threadIdx.y) * 192) + (((int)threadIdx.x) * 4)) + 84));
  *(float4*)(x_ptr + 0) = *(float4*)(nflatten_z_ptr + ((((int)threadIdx.y) * 16) + 4));
  float4 __9;
    float4 v__8 = *(float4*)(acc_ptr + 0);
    float4 __10;
      float4 v__9 = make_float4(x_ptr[0], x_ptr[0], x_ptr[0], x_ptr[0]);
      __10.x = (v__9.x*word_4.x);
      __10.y = (v__9.y*word_4.y);
      __10.z = (v__9.z*word_4.z);
      __10.w = (v__9.w*word_4.w);
    __9.x = (v__8.x+__10.x);
    __9.y = (v__8.y+__10.y);
    __9.z = (v__8.z+__10.z);
    __9.w = (v__8.w+__10.w);
  *(float4*)(acc_ptr + 0) = __9;
  float4 __11;
    float4 v__10 = *(float4*)(acc_ptr + 4);
    float4 __12;
      float4 v__11 = make_float4(x_ptr[1], x_ptr[1], x_ptr[1], x_ptr[1]);
      __12.x = (v__11.x*word_5.x);
      __12.y = (v__11.y*word_5.y);
      __12.z = (v__11.z*word_5.z);
      __12.w = (v__11.w*word_5.w);
    __11.x = (v__10.x+__12.x);
    __11.y = (v__10.y+__12.y);
    __11.z = (v__10.z+__12.z);
    __11.w = (v__10.w+__12.w);
  *(float4*)(acc_ptr + 4) = __11;
  float4 __13;
    float4 v__12 = *(float4*)(acc_ptr + 8);
    float4 __14;
      float4 v__13 = make_float4(x_ptr[2], x_ptr[2], x_ptr[2], x_ptr[2]);
      __14.x = (v__13.x*word_6.x);
      __14.y = (v__13.y*word_6.y);
      __14.z = (v__13.z*word_6.z);
      __14.w = (v__13.w*word_6.w);
    __13.x = (v__12.x+__14.x);
    __13.y = (v__12.y+__14.y);
    __13.z = (v__12.z+__14.z);
    __13.w = (v__12.w+__14.w);
  *(float4*)(acc_ptr + 8) = __13;
  float4 __15;
    float4 v__14 = *(float4*)(acc_ptr + 12);
    float4 __16;
      float4 v__15 = make_float4(x_ptr[3], x_ptr[3], x_ptr[3], x_ptr[3]);
      __16.x = (v__15.x*word_7.x);
      __16.y = (v__15.y*word_7.y);
      __16.z = (v__15.z*word_7.z);
      __16.w = (v__15.w*word_7.w);
    __15.x = (v__14.x+__16.x);
    __15.y = (v__14.y+__16.y);
    __15.z = (v__14.z+__16.z);
    __15.w = (v__14.w+__16.w);
  *(float4*)(acc_ptr + 12) = __15;
  float4 word_8 = *(float4*)(param_0_ptr + (((((int)threadIdx.y) * 192) + (((int)threadIdx.x) * 4)) + 96));
  float4 word_9 = *(float4*)(param_0_ptr + (((((int)threadIdx.y) * 192) + (((int)threadIdx.x) * 4)) + 108));
  float4 word_10 = *(float4*)(param_0_ptr + (((((int)threadIdx.y) * 192) + (((int)threadIdx.x) * 4)) + 120));
  float4 word_11 = *(float4*)(param_0_ptr + (((((int)threadIdx.y) * 192) + (((int)threadIdx.x) * 4)) + 132));
  *(float4*)(x_ptr + 0) = *(float4*)(nflatten_z_ptr + ((((int)threadIdx.y) * 16) + 8));
  float4 __17;
    float4 v__16 = *(float4*)(acc_ptr + 0);
    float4 __18;
      float4 v__17 = make_float4(x_ptr[0], x_ptr[0], x_ptr[0], x_ptr[0]);
      __18.x = (v__17.x*word_8.x);
      __18.y = (v__17.y*word_8.y);
      __18.z = (v__17.z*word_8.z);
      __18.w = (v__17.w*word_8.w);
    __17.x = (v__16.x+__18.x);
    __17.y = (v__16.y+__18.y);
    __17.z = (v__16.z+__18.z);
    __17.w = (v__16.w+__18.w);
  *(float4*)(acc_ptr + 0) = __17;
  float4 __19;
    float4 v__18 = *(float4*)(acc_ptr + 4);
    float4 __20;
      float4 v__19 = make_float4(x_ptr[1], x_ptr[1], x_ptr[1], x_ptr[1]);
      __20.x = (v__19.x*word_9.x);
      __20.y = (v__19.y*word_9.y);
      __20.z = (v__19.z*word_9.z);
      __20.w = (v__19.w*word_9.w);
    __19.x = (v__18.x+__20.x);
    __19.y = (v__18.y+__20.y);
    __19.z = (v__18.z+__20.z);
    __19.w = (v__18.w+__20.w);
  *(float4*)(acc_ptr + 4) = __19;
  float4 __21;
    float4 v__20 = *(float4*)(acc_ptr + 8);
    float4 __22;
      float4 v__21 = make_float4(x_ptr[2], x_ptr[2], x_ptr[2], x_ptr[2]);
      __22.x = (v__21.x*word_10.x);
      __22.y = (v__21.y*word_10.y);
      __22.z = (v__21.z*word_10.z);
      __22.w = (v__21.w*word_10.w);
    __21.x = (v__20.x+__22.x);
    __21.y = (v__20.y+__22.y);
    __21.z = (v__20.z+__22.z);
    __21.w = (v__20.w+__22.w);
  *(float4*)(acc_ptr + 8) = __21;
  float4 __23;
    float4 v__22 = *(float4*)(acc_ptr + 12);
    float4 __24;
      float4 v__23 = make_float4(x_ptr[3], x_ptr[3], x_ptr[3], x_ptr[3]);
      __24.x = (v__23.x*word_11.x);
      __24.y = (v__23.y*word_11.y);
      __24.z = (v__23.z*word_11.z);
      __24.w = (v__23.w*word_11.w);
    __23.x = (v__22.x+__24.x);
    __23.y = (v__22.y+__24.y);
    __23.z = (v__22.z+__24.z);
    __23.w = (v__22.w+__24.w);
  *(float4*)(acc_ptr + 12) = __23;
  float4 word_12 = *(float4*)(param_0_ptr + (((((int)threadIdx.y) * 192) + (((int)threadIdx.x) * 4)) + 144));
  float4 word_13 = *(float4*)(param_0_ptr + (((((int)threadIdx.y) * 192) + (((int)threadIdx.x) * 4)) + 156));
  float4 word_14 = *(float4*)(param_0_ptr + (((((int)threadIdx.y) * 192) + (((int)threadIdx.x) * 4)) + 168));
  float4 word_15 = *(float4*)(param_0_ptr + (((((int)threadIdx.y) * 192) + (((int)threadIdx.x) * 4)) + 180));
  *(float4*)(x_ptr + 0) = *(float4*)(nflatten_z_ptr + ((((int)threadIdx.y) * 16) + 12));
  float4 __25;
    float4 v__24 = *(float4*)(acc_ptr + 0);
    float4 __26;
      float4 v__25 = make_float4(x_ptr[0], x_ptr[0], x_ptr[0], x_ptr[0]);
      __26.x = (v__25.x*word_12.x);
      __26.y = (v__25.y*word_12.y);
      __26.z = (v__25.z*word_12.z);
      __26.w = (v__25.w*word_12.w);
    __25.x = (v__24.x+__26.x);
    __25.y = (v__24.y+__26.y);
    __25.z = (v__24.z+__26.z);
    __25.w = (v__24.w+__26.w);
  *(float4*)(acc_ptr + 0) = __25;
  float4 __27;
    float4 v__26 = *(float4*)(acc_ptr + 4);
    float4 __28;
      float4 v__27 = make_float4(x_ptr[1], x_ptr[1], x_ptr[1], x_ptr[1]);
      __28.x = (v__27.x*word_13.x);
      __28.y = (v__27.y*word_13.y);
      __28.z = (v__27.z*word_13.z);
      __28.w = (v__27.w*word_13.w);
    __27.x = (v__26.x+__28.x);
    __27.y = (v__26.y+__28.y);
    __27.z = (v__26.z+__28.z);
    __27.w = (v__26.w+__28.w);
  *(float4*)(acc_ptr + 4) = __27;
  float4 __29;
    float4 v__28 = *(float4*)(acc_ptr + 8);
    float4 __30;
      float4 v__29 = make_float4(x_ptr[2], x_ptr[2], x_ptr[2], x_ptr[2]);
      __30.x = (v__29.x*word_14.x);
      __30.y = (v__29.y*word_14.y);
      __30.z = (v__29.z*word_14.z);
      __30.w = (v__29.w*word_14.w);
    __29.x = (v__28.x+__30.x);
    __29.y = (v__28.y+__30.y);
    __29.z = (v__28.z+__30.z);
    __29.w = (v__28.w+__30.w);
  *(float4*)(acc_ptr + 8) = __29;
  float4 __31;
    float4 v__30 = *(float4*)(acc_ptr + 12);
    float4 __32;
      float4 v__31 = make_float4(x_ptr[3], x_ptr[3], x_ptr[3], x_ptr[3]);
      __32.x = (v__31.x*word_15.x);
      __32.y = (v__31.y*word_15.y);
      __32.z = (v__31.z*word_15.z);
      __32.w = (v__31.w*word_15.w);
    __31.x = (v__30.x+__32.x);
    __31.y = (v__30.y+__32.y);
    __31.z = (v__30.z+__32.z);
    __31.w = (v__30.w+__32.w);
  *(float4*)(acc_ptr + 12) = __31;
  float4 __33;
    float4 __34;
      float4 __35;
        float4 v__32 = *(float4*)(acc_ptr + 0);
        float4 v__33 = *(float4*)(acc_ptr + 4);
        __35.x = (v__32.x+v__33.x);
        __35.y = (v__32.y+v__33.y);
        __35.z = (v__32.z+v__33.z);
        __35.w = (v__32.w+v__33.w);
      float4 v__34 = *(float4*)(acc_ptr + 8);
      __34.x = (__35.x+v__34.x);
      __34.y = (__35.y+v__34.y);
      __34.z = (__35.z+v__34.z);
      __34.w = (__35.w+v__34.w);
    float4 v__35 = *(float4*)(acc_ptr + 12);
    __33.x = (__34.x+v__35.x);
    __33.y = (__34.y+v__35.y);
    __33.z = (__34.z+v__35.z);
    __33.w = (__34.w+v__35.w);
  *(float4*)(total_ptr + 0) = __33;
  sums_ptr[((((int)threadIdx.y) * 12) + ((int)threadIdx.x))] = total_ptr[0];
  sums_ptr[(((((int)threadIdx.y) * 12) + ((int)threadIdx.x)) + 3)] = total_ptr[1];
  sums_ptr[(((((int)threadIdx.y) * 12) + ((int)threadIdx.x)) + 6)] = total_ptr[2];
  sums_ptr[(((((int)threadIdx.y) * 12) + ((int)threadIdx.x)) + 9)] = total_ptr[3];
  __syncthreads();
  if (((int)threadIdx.y) < 4) {
    T_add_intermediate_ptr[((((int)threadIdx.x) * 4) + ((int)threadIdx.y))] = ((((((((((((((((((((((((((((((((sums_ptr[((((int)threadIdx.y) * 3) + ((int)threadIdx.x))] + sums_ptr[(((((int)threadIdx.y) * 3) + ((int)threadIdx.x)) + 12)]) + sums_ptr[(((((int)threadIdx.y) * 3) + ((int)threadIdx.x)) + 24)]) + sums_ptr[(((((int)threadIdx.y) * 3) + ((int)threadIdx.x)) + 36)]) + sums_ptr[(((((int)threadIdx.y) * 3) + ((int)threadIdx.x)) + 48)]) + sums_ptr[(((((int)threadIdx.y) * 3) + ((int)threadIdx.x)) + 60)]) + sums_ptr[(((((int)threadIdx.y) * 3) + ((int)threadIdx.x)) + 72)]) + sums_ptr[(((((int)threadIdx.y) * 3) + ((int)threadIdx.x)) + 84)]) + sums_ptr[(((((int)threadIdx.y) * 3) + ((int)threadIdx.x)) + 96)]) + sums_ptr[(((((int)threadIdx.y) * 3) + ((int)threadIdx.x)) + 108)]) + sums_ptr[(((((int)threadIdx.y) * 3) + ((int)threadIdx.x)) + 120)]) + sums_ptr[(((((int)threadIdx.y) * 3) + ((int)threadIdx.x)) + 132)]) + sums_ptr[(((((int)threadIdx.y) * 3) + ((int)threadIdx.x)) + 144)]) + sums_ptr[(((((int)threadIdx.y) * 3) + ((int)threadIdx.x)) + 156)]) + sums_ptr[(((((int)threadIdx.y) * 3) + ((int)threadIdx.x)) + 168)]) + sums_ptr[(((((int)threadIdx.y) * 3) + ((int)threadIdx.x)) + 180)]) + sums_ptr[(((((int)threadIdx.y) * 3) + ((int)threadIdx.x)) + 192)]) + sums_ptr[(((((int)threadIdx.y) * 3) + ((int)threadIdx.x)) + 204)]) + sums_ptr[(((((int)threadIdx.y) * 3) + ((int)threadIdx.x)) + 216)]) + sums_ptr[(((((int)threadIdx.y) * 3) + ((int)threadIdx.x)) + 228)]) + sums_ptr[(((((int)threadIdx.y) * 3) + ((int)threadIdx.x)) + 240)]) + sums_ptr[(((((int)threadIdx.y) * 3) + ((int)threadIdx.x)) + 252)]) + sums_ptr[(((((int)threadIdx.y) * 3) + ((int)threadIdx.x)) + 264)]) + sums_ptr[(((((int)threadIdx.y) * 3) + ((int)threadIdx.x)) + 276)]) + sums_ptr[(((((int)threadIdx.y) * 3) + ((int)threadIdx.x)) + 288)]) + sums_ptr[(((((int)threadIdx.y) * 3) + ((int)threadIdx.x)) + 300)]) + sums_ptr[(((((int)threadIdx.y) * 3) + ((int)threadIdx.x)) + 312)]) + sums_ptr[(((((int)threadIdx.y) * 3) + ((int)threadIdx.x)) + 324)]) + sums_ptr[(((((int)threadIdx.y) * 3) + ((int)threadIdx.x)) + 336)]) + sums_ptr[(((((int)threadIdx.y) * 3) + ((int)threadIdx.x)) + 348)]) + sums_ptr[(((((int)threadIdx.y) * 3) + ((int)threadIdx.x)) + 360)]) + sums_ptr[(((((int)threadIdx.y) * 3) + ((int)threadIdx.x)) + 372)]) + param_1_ptr[((((int)threadIdx.x) * 4) + ((int)threadIdx.y))]);
  }
}
