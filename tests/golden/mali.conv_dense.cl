__kernel __attribute__((reqd_work_group_size(50, 1, 1)))
void conv2d_add_relu_kernel(__global float* restrict pad_temp_ptr, __global const float* restrict x_ptr) {
  const int local_x = (int)get_local_id(0);
  const int group_x = (int)get_group_id(0);
  float condval;
  if (((bool)(((bool)(((bool)(1 <= (((group_x & 1) * 5) + (local_x / 10)))) && ((bool)((((group_x & 1) * 5) + (local_x / 10)) < 9)))) && ((bool)(1 <= (local_x % 10))))) && ((bool)((local_x % 10) < 9))) {
    condval = x_ptr[((((((group_x >> 1) * 64) + ((group_x & 1) * 40)) + ((local_x / 10) * 8)) + (local_x % 10)) - 9)];
  } else {
    condval = 0.000000e+00f;
  }
  pad_temp_ptr[((group_x * 50) + local_x)] = condval;
}

__kernel __attribute__((reqd_work_group_size(64, 1, 1)))
void conv2d_add_relu_kernel_1(__global float* restrict compute_intermediate_ptr, __global const float* restrict pad_temp_ptr, __global const float* restrict param_0_ptr, __global const float* restrict param_1_ptr) {
  const int local_x = (int)get_local_id(0);
  const int group_x = (int)get_group_id(0);
  float conv2d_nchw_intermediate_local_ptr[4];
  float pad_temp_local_ptr[6];
  float param_0_local_ptr[1];
  conv2d_nchw_intermediate_local_ptr[0] = 0.000000e+00f;
  conv2d_nchw_intermediate_local_ptr[1] = 0.000000e+00f;
  conv2d_nchw_intermediate_local_ptr[2] = 0.000000e+00f;
  conv2d_nchw_intermediate_local_ptr[3] = 0.000000e+00f;
  for (int ax4 = 0; ax4 < 8; ++ax4) {
    for (int ax5 = 0; ax5 < 3; ++ax5) {
      vstore2(((__global const float2*)pad_temp_ptr)[(((((ax4) * 50) + (((local_x & 15) >> 1) * 5)) + ((ax5) * 5)) + ((local_x & 1) * 2))], 0, pad_temp_local_ptr + 0);
      vstore2(((__global const float2*)pad_temp_ptr)[((((((ax4) * 50) + (((local_x & 15) >> 1) * 5)) + ((ax5) * 5)) + ((local_x & 1) * 2)) + 1)], 0, pad_temp_local_ptr + 2);
      vstore2(((__global const float2*)pad_temp_ptr)[((((((ax4) * 50) + (((local_x & 15) >> 1) * 5)) + ((ax5) * 5)) + ((local_x & 1) * 2)) + 2)], 0, pad_temp_local_ptr + 4);
      param_0_local_ptr[0] = param_0_ptr[((((ax4 * 72) + (ax5 * 24)) + (group_x * 4)) + (local_x >> 4))];
      conv2d_nchw_intermediate_local_ptr[0] = (conv2d_nchw_intermediate_local_ptr[0] + (pad_temp_local_ptr[0] * param_0_local_ptr[0]));
      conv2d_nchw_intermediate_local_ptr[1] = (conv2d_nchw_intermediate_local_ptr[1] + (pad_temp_local_ptr[1] * param_0_local_ptr[0]));
      conv2d_nchw_intermediate_local_ptr[2] = (conv2d_nchw_intermediate_local_ptr[2] + (pad_temp_local_ptr[2] * param_0_local_ptr[0]));
      conv2d_nchw_intermediate_local_ptr[3] = (conv2d_nchw_intermediate_local_ptr[3] + (pad_temp_local_ptr[3] * param_0_local_ptr[0]));
      param_0_local_ptr[0] = param_0_ptr[(((((ax4 * 72) + (ax5 * 24)) + (group_x * 4)) + (local_x >> 4)) + 8)];
      conv2d_nchw_intermediate_local_ptr[0] = (conv2d_nchw_intermediate_local_ptr[0] + (pad_temp_local_ptr[1] * param_0_local_ptr[0]));
      conv2d_nchw_intermediate_local_ptr[1] = (conv2d_nchw_intermediate_local_ptr[1] + (pad_temp_local_ptr[2] * param_0_local_ptr[0]));
      conv2d_nchw_intermediate_local_ptr[2] = (conv2d_nchw_intermediate_local_ptr[2] + (pad_temp_local_ptr[3] * param_0_local_ptr[0]));
      conv2d_nchw_intermediate_local_ptr[3] = (conv2d_nchw_intermediate_local_ptr[3] + (pad_temp_local_ptr[4] * param_0_local_ptr[0]));
      param_0_local_ptr[0] = param_0_ptr[(((((ax4 * 72) + (ax5 * 24)) + (group_x * 4)) + (local_x >> 4)) + 16)];
      conv2d_nchw_intermediate_local_ptr[0] = (conv2d_nchw_intermediate_local_ptr[0] + (pad_temp_local_ptr[2] * param_0_local_ptr[0]));
      conv2d_nchw_intermediate_local_ptr[1] = (conv2d_nchw_intermediate_local_ptr[1] + (pad_temp_local_ptr[3] * param_0_local_ptr[0]));
      conv2d_nchw_intermediate_local_ptr[2] = (conv2d_nchw_intermediate_local_ptr[2] + (pad_temp_local_ptr[4] * param_0_local_ptr[0]));
      conv2d_nchw_intermediate_local_ptr[3] = (conv2d_nchw_intermediate_local_ptr[3] + (pad_temp_local_ptr[5] * param_0_local_ptr[0]));
    }
  }
  ((__global float4*)compute_intermediate_ptr)[(((group_x) * 64) + (local_x))] = max((vload4(0, conv2d_nchw_intermediate_local_ptr + 0) + ((float4)(param_1_ptr[((group_x * 4) + (local_x >> 4))], param_1_ptr[((group_x * 4) + (local_x >> 4))], param_1_ptr[((group_x * 4) + (local_x >> 4))], param_1_ptr[((group_x * 4) + (local_x >> 4))]))), ((float4)(0.000000e+00f, 0.000000e+00f, 0.000000e+00f, 0.000000e+00f)));
}

__kernel __attribute__((reqd_work_group_size(3, 32, 1)))
void compressed_add_kernel(__global float* restrict T_add_intermediate_ptr, __global const float* restrict nflatten_z_ptr, __global const float* restrict param_0_ptr, __global const float* restrict param_1_ptr) {
  const int local_x = (int)get_local_id(0);
  const int local_y = (int)get_local_id(1);
  float total_ptr[4];
  float acc_ptr[16];
  float x_ptr[4];
  __local float sums_ptr[384];
  vstore4(((float4)(0.000000e+00f, 0.000000e+00f, 0.000000e+00f, 0.000000e+00f)), 0, total_ptr + 0);
  vstore4(((float4)(0.000000e+00f, 0.000000e+00f, 0.000000e+00f, 0.000000e+00f)), 0, acc_ptr + 0);
  vstore4(((float4)(0.000000e+00f, 0.000000e+00f, 0.000000e+00f, 0.000000e+00f)), 0, acc_ptr + 4);
  vstore4(((float4)(0.000000e+00f, 0.000000e+00f, 0.000000e+00f, 0.000000e+00f)), 0, acc_ptr + 8);
  vstore4(((float4)(0.000000e+00f, 0.000000e+00f, 0.000000e+00f, 0.000000e+00f)), 0, acc_ptr + 12);
  float4 word = ((__global const float4*)param_0_ptr)[(((local_y) * 48) + (local_x))];
  float4 word_1 = ((__global const float4*)param_0_ptr)[((((local_y) * 48) + (local_x)) + 3)];
  float4 word_2 = ((__global const float4*)param_0_ptr)[((((local_y) * 48) + (local_x)) + 6)];
  float4 word_3 = ((__global const float4*)param_0_ptr)[((((local_y) * 48) + (local_x)) + 9)];
  vstore4(((__global const float4*)nflatten_z_ptr)[((local_y) * 4)], 0, x_ptr + 0);
  vstore4((vload4(0, acc_ptr + 0) + (((float4)(x_ptr[0], x_ptr[0], x_ptr[0], x_ptr[0])) * word)), 0, acc_ptr + 0);
  vstore4((vload4(0, acc_ptr + 4) + (((float4)(x_ptr[1], x_ptr[1], x_ptr[1], x_ptr[1])) * word_1)), 0, acc_ptr + 4);
  vstore4((vload4(0, acc_ptr + 8) + (((float4)(x_ptr[2], x_ptr[2], x_ptr[2], x_ptr[2])) * word_2)), 0, acc_ptr + 8);
  vstore4((vload4(0, acc_ptr + 12) + (((float4)(x_ptr[3], x_ptr[3], x_ptr[3], x_ptr[3])) * word_3)), 0, acc_ptr + 12);
  float4 word_4 = ((__global const float4*)param_0_ptr)[((((local_y) * 48) + (local_x)) + 12)];
  float4 word_5 = ((__global const float4*)param_0_ptr)[((((local_y) * 48) + (local_x)) + 15)];
  float4 word_6 = ((__global const float4*)param_0_ptr)[((((local_y) * 48) + (local_x)) + 18)];
  float4 word_7 = ((__global const float4*)param_0_ptr)[((((local_y) * 48) + (local_x)) + 21)];
  vstore4(((__global const float4*)nflatten_z_ptr)[(((local_y) * 4) + 1)], 0, x_ptr + 0);
  vstore4((vload4(0, acc_ptr + 0) + (((float4)(x_ptr[0], x_ptr[0], x_ptr[0], x_ptr[0])) * word_4)), 0, acc_ptr + 0);
  vstore4((vload4(0, acc_ptr + 4) + (((float4)(x_ptr[1], x_ptr[1], x_ptr[1], x_ptr[1])) * word_5)), 0, acc_ptr + 4);
  vstore4((vload4(0, acc_ptr + 8) + (((float4)(x_ptr[2], x_ptr[2], x_ptr[2], x_ptr[2])) * word_6)), 0, acc_ptr + 8);
  vstore4((vload4(0, acc_ptr + 12) + (((float4)(x_ptr[3], x_ptr[3], x_ptr[3], x_ptr[3])) * word_7)), 0, acc_ptr + 12);
  float4 word_8 = ((__global const float4*)param_0_ptr)[((((local_y) * 48) + (local_x)) + 24)];
  float4 word_9 = ((__global const float4*)param_0_ptr)[((((local_y) * 48) + (local_x)) + 27)];
  float4 word_10 = ((__global const float4*)param_0_ptr)[((((local_y) * 48) + (local_x)) + 30)];
  float4 word_11 = ((__global const float4*)param_0_ptr)[((((local_y) * 48) + (local_x)) + 33)];
  vstore4(((__global const float4*)nflatten_z_ptr)[(((local_y) * 4) + 2)], 0, x_ptr + 0);
  vstore4((vload4(0, acc_ptr + 0) + (((float4)(x_ptr[0], x_ptr[0], x_ptr[0], x_ptr[0])) * word_8)), 0, acc_ptr + 0);
  vstore4((vload4(0, acc_ptr + 4) + (((float4)(x_ptr[1], x_ptr[1], x_ptr[1], x_ptr[1])) * word_9)), 0, acc_ptr + 4);
  vstore4((vload4(0, acc_ptr + 8) + (((float4)(x_ptr[2], x_ptr[2], x_ptr[2], x_ptr[2])) * word_10)), 0, acc_ptr + 8);
  vstore4((vload4(0, acc_ptr + 12) + (((float4)(x_ptr[3], x_ptr[3], x_ptr[3], x_ptr[3])) * word_11)), 0, acc_ptr + 12);
  float4 word_12 = ((__global const float4*)param_0_ptr)[((((local_y) * 48) + (local_x)) + 36)];
  float4 word_13 = ((__global const float4*)param_0_ptr)[((((local_y) * 48) + (local_x)) + 39)];
  float4 word_14 = ((__global const float4*)param_0_ptr)[((((local_y) * 48) + (local_x)) + 42)];
  float4 word_15 = ((__global const float4*)param_0_ptr)[((((local_y) * 48) + (local_x)) + 45)];
  vstore4(((__global const float4*)nflatten_z_ptr)[(((local_y) * 4) + 3)], 0, x_ptr + 0);
  vstore4((vload4(0, acc_ptr + 0) + (((float4)(x_ptr[0], x_ptr[0], x_ptr[0], x_ptr[0])) * word_12)), 0, acc_ptr + 0);
  vstore4((vload4(0, acc_ptr + 4) + (((float4)(x_ptr[1], x_ptr[1], x_ptr[1], x_ptr[1])) * word_13)), 0, acc_ptr + 4);
  vstore4((vload4(0, acc_ptr + 8) + (((float4)(x_ptr[2], x_ptr[2], x_ptr[2], x_ptr[2])) * word_14)), 0, acc_ptr + 8);
  vstore4((vload4(0, acc_ptr + 12) + (((float4)(x_ptr[3], x_ptr[3], x_ptr[3], x_ptr[3])) * word_15)), 0, acc_ptr + 12);
  vstore4((((vload4(0, acc_ptr + 0) + vload4(0, acc_ptr + 4)) + vload4(0, acc_ptr + 8)) + vload4(0, acc_ptr + 12)), 0, total_ptr + 0);
  sums_ptr[((local_y * 12) + local_x)] = total_ptr[0];
  sums_ptr[(((local_y * 12) + local_x) + 3)] = total_ptr[1];
  sums_ptr[(((local_y * 12) + local_x) + 6)] = total_ptr[2];
  sums_ptr[(((local_y * 12) + local_x) + 9)] = total_ptr[3];
  barrier(CLK_LOCAL_MEM_FENCE);
  if (local_y < 4) {
    T_add_intermediate_ptr[((local_x * 4) + local_y)] = ((((((((((((((((((((((((((((((((sums_ptr[((local_y * 3) + local_x)] + sums_ptr[(((local_y * 3) + local_x) + 12)]) + sums_ptr[(((local_y * 3) + local_x) + 24)]) + sums_ptr[(((local_y * 3) + local_x) + 36)]) + sums_ptr[(((local_y * 3) + local_x) + 48)]) + sums_ptr[(((local_y * 3) + local_x) + 60)]) + sums_ptr[(((local_y * 3) + local_x) + 72)]) + sums_ptr[(((local_y * 3) + local_x) + 84)]) + sums_ptr[(((local_y * 3) + local_x) + 96)]) + sums_ptr[(((local_y * 3) + local_x) + 108)]) + sums_ptr[(((local_y * 3) + local_x) + 120)]) + sums_ptr[(((local_y * 3) + local_x) + 132)]) + sums_ptr[(((local_y * 3) + local_x) + 144)]) + sums_ptr[(((local_y * 3) + local_x) + 156)]) + sums_ptr[(((local_y * 3) + local_x) + 168)]) + sums_ptr[(((local_y * 3) + local_x) + 180)]) + sums_ptr[(((local_y * 3) + local_x) + 192)]) + sums_ptr[(((local_y * 3) + local_x) + 204)]) + sums_ptr[(((local_y * 3) + local_x) + 216)]) + sums_ptr[(((local_y * 3) + local_x) + 228)]) + sums_ptr[(((local_y * 3) + local_x) + 240)]) + sums_ptr[(((local_y * 3) + local_x) + 252)]) + sums_ptr[(((local_y * 3) + local_x) + 264)]) + sums_ptr[(((local_y * 3) + local_x) + 276)]) + sums_ptr[(((local_y * 3) + local_x) + 288)]) + sums_ptr[(((local_y * 3) + local_x) + 300)]) + sums_ptr[(((local_y * 3) + local_x) + 312)]) + sums_ptr[(((local_y * 3) + local_x) + 324)]) + sums_ptr[(((local_y * 3) + local_x) + 336)]) + sums_ptr[(((local_y * 3) + local_x) + 348)]) + sums_ptr[(((local_y * 3) + local_x) + 360)]) + sums_ptr[(((local_y * 3) + local_x) + 372)]) + param_1_ptr[((local_x * 4) + local_y)]);
  }
}
