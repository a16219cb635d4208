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
      pad_temp_local_ptr[0] = pad_temp_ptr[((((ax4 * 100) + (((local_x & 15) >> 1) * 10)) + (ax5 * 10)) + ((local_x & 1) * 4))];
      pad_temp_local_ptr[1] = pad_temp_ptr[(((((ax4 * 100) + (((local_x & 15) >> 1) * 10)) + (ax5 * 10)) + ((local_x & 1) * 4)) + 1)];
      pad_temp_local_ptr[2] = pad_temp_ptr[(((((ax4 * 100) + (((local_x & 15) >> 1) * 10)) + (ax5 * 10)) + ((local_x & 1) * 4)) + 2)];
      pad_temp_local_ptr[3] = pad_temp_ptr[(((((ax4 * 100) + (((local_x & 15) >> 1) * 10)) + (ax5 * 10)) + ((local_x & 1) * 4)) + 3)];
      pad_temp_local_ptr[4] = pad_temp_ptr[(((((ax4 * 100) + (((local_x & 15) >> 1) * 10)) + (ax5 * 10)) + ((local_x & 1) * 4)) + 4)];
      pad_temp_local_ptr[5] = pad_temp_ptr[(((((ax4 * 100) + (((local_x & 15) >> 1) * 10)) + (ax5 * 10)) + ((local_x & 1) * 4)) + 5)];
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
  vstore4(max((vload4(0, conv2d_nchw_intermediate_local_ptr + 0) + ((float4)(param_1_ptr[((group_x * 4) + (local_x >> 4))], param_1_ptr[((group_x * 4) + (local_x >> 4))], param_1_ptr[((group_x * 4) + (local_x >> 4))], param_1_ptr[((group_x * 4) + (local_x >> 4))]))), ((float4)(0.000000e+00f, 0.000000e+00f, 0.000000e+00f, 0.000000e+00f))), 0, compute_intermediate_ptr + ((group_x * 256) + (local_x * 4)));
}

__kernel __attribute__((reqd_work_group_size(3, 1, 1)))
void matmul_add_kernel(__global float* restrict T_add_intermediate_ptr, __global const float* restrict nflatten_z_ptr, __global const float* restrict param_0_ptr, __global const float* restrict param_1_ptr) {
  const int local_x = (int)get_local_id(0);
  float matmul_intermediate_local_ptr[4];
  float nflatten_z_local_ptr[4];
  float param_0_local_ptr[4];
  matmul_intermediate_local_ptr[0] = 0.000000e+00f;
  matmul_intermediate_local_ptr[1] = 0.000000e+00f;
  matmul_intermediate_local_ptr[2] = 0.000000e+00f;
  matmul_intermediate_local_ptr[3] = 0.000000e+00f;
  for (int ax2_0 = 0; ax2_0 < 128; ++ax2_0) {
    vstore4(vload4(0, nflatten_z_ptr + (ax2_0 * 4)), 0, nflatten_z_local_ptr + 0);
    vstore4(vload4(0, param_0_ptr + ((ax2_0 * 48) + (local_x * 4))), 0, param_0_local_ptr + 0);
    matmul_intermediate_local_ptr[0] = (matmul_intermediate_local_ptr[0] + (nflatten_z_local_ptr[0] * param_0_local_ptr[0]));
    matmul_intermediate_local_ptr[1] = (matmul_intermediate_local_ptr[1] + (nflatten_z_local_ptr[0] * param_0_local_ptr[1]));
    matmul_intermediate_local_ptr[2] = (matmul_intermediate_local_ptr[2] + (nflatten_z_local_ptr[0] * param_0_local_ptr[2]));
    matmul_intermediate_local_ptr[3] = (matmul_intermediate_local_ptr[3] + (nflatten_z_local_ptr[0] * param_0_local_ptr[3]));
    vstore4(vload4(0, param_0_ptr + (((ax2_0 * 48) + (local_x * 4)) + 12)), 0, param_0_local_ptr + 0);
    matmul_intermediate_local_ptr[0] = (matmul_intermediate_local_ptr[0] + (nflatten_z_local_ptr[1] * param_0_local_ptr[0]));
    matmul_intermediate_local_ptr[1] = (matmul_intermediate_local_ptr[1] + (nflatten_z_local_ptr[1] * param_0_local_ptr[1]));
    matmul_intermediate_local_ptr[2] = (matmul_intermediate_local_ptr[2] + (nflatten_z_local_ptr[1] * param_0_local_ptr[2]));
    matmul_intermediate_local_ptr[3] = (matmul_intermediate_local_ptr[3] + (nflatten_z_local_ptr[1] * param_0_local_ptr[3]));
    vstore4(vload4(0, param_0_ptr + (((ax2_0 * 48) + (local_x * 4)) + 24)), 0, param_0_local_ptr + 0);
    matmul_intermediate_local_ptr[0] = (matmul_intermediate_local_ptr[0] + (nflatten_z_local_ptr[2] * param_0_local_ptr[0]));
    matmul_intermediate_local_ptr[1] = (matmul_intermediate_local_ptr[1] + (nflatten_z_local_ptr[2] * param_0_local_ptr[1]));
    matmul_intermediate_local_ptr[2] = (matmul_intermediate_local_ptr[2] + (nflatten_z_local_ptr[2] * param_0_local_ptr[2]));
    matmul_intermediate_local_ptr[3] = (matmul_intermediate_local_ptr[3] + (nflatten_z_local_ptr[2] * param_0_local_ptr[3]));
    vstore4(vload4(0, param_0_ptr + (((ax2_0 * 48) + (local_x * 4)) + 36)), 0, param_0_local_ptr + 0);
    matmul_intermediate_local_ptr[0] = (matmul_intermediate_local_ptr[0] + (nflatten_z_local_ptr[3] * param_0_local_ptr[0]));
    matmul_intermediate_local_ptr[1] = (matmul_intermediate_local_ptr[1] + (nflatten_z_local_ptr[3] * param_0_local_ptr[1]));
    matmul_intermediate_local_ptr[2] = (matmul_intermediate_local_ptr[2] + (nflatten_z_local_ptr[3] * param_0_local_ptr[2]));
    matmul_intermediate_local_ptr[3] = (matmul_intermediate_local_ptr[3] + (nflatten_z_local_ptr[3] * param_0_local_ptr[3]));
  }
  vstore4((vload4(0, matmul_intermediate_local_ptr + 0) + vload4(0, param_1_ptr + (local_x * 4))), 0, T_add_intermediate_ptr + (local_x * 4));
}
