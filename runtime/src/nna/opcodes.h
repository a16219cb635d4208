// Ethos-U55/U65 commands: numbers and names as in the register file that Arm publishes with Vela (architecture 1.0.6).
#pragma once

#include <cstdint>

namespace tw::nna {

// A command word is an opcode (bits 0-9), a kind (bits 14-15: 0 without, 1 with a payload word) and a parameter
// (bits 16-31). Opcodes from 0x100 on without payload, and all with one, set a register.
// One a line.
// clang-format off
#define TW_NNA_OPERATIONS(X) \
  X(OP_STOP, 0x000) \
  X(OP_IRQ, 0x001) \
  X(OP_CONV, 0x002) \
  X(OP_DEPTHWISE, 0x003) \
  X(OP_POOL, 0x005) \
  X(OP_ELEMENTWISE, 0x006) \
  X(OP_DMA_START, 0x010) \
  X(OP_DMA_WAIT, 0x011) \
  X(OP_KERNEL_WAIT, 0x012) \
  X(OP_PMU_MASK, 0x013)

#define TW_NNA_NARROW(X) \
  X(IFM_PAD_TOP, 0x100) \
  X(IFM_PAD_LEFT, 0x101) \
  X(IFM_PAD_RIGHT, 0x102) \
  X(IFM_PAD_BOTTOM, 0x103) \
  X(IFM_DEPTH_M1, 0x104) \
  X(IFM_PRECISION, 0x105) \
  X(IFM_UPSCALE, 0x107) \
  X(IFM_ZERO_POINT, 0x109) \
  X(IFM_WIDTH0_M1, 0x10A) \
  X(IFM_HEIGHT0_M1, 0x10B) \
  X(IFM_HEIGHT1_M1, 0x10C) \
  X(IFM_IB_END, 0x10D) \
  X(IFM_REGION, 0x10F) \
  X(OFM_WIDTH_M1, 0x111) \
  X(OFM_HEIGHT_M1, 0x112) \
  X(OFM_DEPTH_M1, 0x113) \
  X(OFM_PRECISION, 0x114) \
  X(OFM_BLK_WIDTH_M1, 0x115) \
  X(OFM_BLK_HEIGHT_M1, 0x116) \
  X(OFM_BLK_DEPTH_M1, 0x117) \
  X(OFM_ZERO_POINT, 0x118) \
  X(OFM_WIDTH0_M1, 0x11A) \
  X(OFM_HEIGHT0_M1, 0x11B) \
  X(OFM_HEIGHT1_M1, 0x11C) \
  X(OFM_REGION, 0x11F) \
  X(KERNEL_WIDTH_M1, 0x120) \
  X(KERNEL_HEIGHT_M1, 0x121) \
  X(KERNEL_STRIDE, 0x122) \
  X(PARALLEL_MODE, 0x123) \
  X(ACC_FORMAT, 0x124) \
  X(ACTIVATION, 0x125) \
  X(ACTIVATION_MIN, 0x126) \
  X(ACTIVATION_MAX, 0x127) \
  X(WEIGHT_REGION, 0x128) \
  X(SCALE_REGION, 0x129) \
  X(AB_START, 0x12D) \
  X(BLOCKDEP, 0x12F) \
  X(DMA0_SRC_REGION, 0x130) \
  X(DMA0_DST_REGION, 0x131) \
  X(DMA0_SIZE0, 0x132) \
  X(DMA0_SIZE1, 0x133) \
  X(IFM2_BROADCAST, 0x180) \
  X(IFM2_SCALAR, 0x181) \
  X(IFM2_PRECISION, 0x185) \
  X(IFM2_ZERO_POINT, 0x189) \
  X(IFM2_WIDTH0_M1, 0x18A) \
  X(IFM2_HEIGHT0_M1, 0x18B) \
  X(IFM2_HEIGHT1_M1, 0x18C) \
  X(IFM2_IB_START, 0x18D) \
  X(IFM2_REGION, 0x18F)

#define TW_NNA_WIDE(X) \
  X(IFM_BASE0, 0x000) \
  X(IFM_BASE1, 0x001) \
  X(IFM_BASE2, 0x002) \
  X(IFM_BASE3, 0x003) \
  X(IFM_STRIDE_X, 0x004) \
  X(IFM_STRIDE_Y, 0x005) \
  X(IFM_STRIDE_C, 0x006) \
  X(OFM_BASE0, 0x010) \
  X(OFM_BASE1, 0x011) \
  X(OFM_BASE2, 0x012) \
  X(OFM_BASE3, 0x013) \
  X(OFM_STRIDE_X, 0x014) \
  X(OFM_STRIDE_Y, 0x015) \
  X(OFM_STRIDE_C, 0x016) \
  X(WEIGHT_BASE, 0x020) \
  X(WEIGHT_LENGTH, 0x021) \
  X(SCALE_BASE, 0x022) \
  X(SCALE_LENGTH, 0x023) \
  X(OFM_SCALE, 0x024) \
  X(OPA_SCALE, 0x025) \
  X(OPB_SCALE, 0x026) \
  X(DMA0_SRC, 0x030) \
  X(DMA0_DST, 0x031) \
  X(DMA0_LEN, 0x032) \
  X(DMA0_SKIP0, 0x033) \
  X(DMA0_SKIP1, 0x034) \
  X(IFM2_BASE0, 0x080) \
  X(IFM2_BASE1, 0x081) \
  X(IFM2_BASE2, 0x082) \
  X(IFM2_BASE3, 0x083) \
  X(IFM2_STRIDE_X, 0x084) \
  X(IFM2_STRIDE_Y, 0x085) \
  X(IFM2_STRIDE_C, 0x086) \
  X(WEIGHT1_BASE, 0x090) \
  X(WEIGHT1_LENGTH, 0x091) \
  X(SCALE1_BASE, 0x092) \
  X(SCALE1_LENGTH, 0x093)
// clang-format on

#define TW_NNA_ENUMERATOR(name, code) name = code,
enum Operation : uint32_t { TW_NNA_OPERATIONS(TW_NNA_ENUMERATOR) };
enum Narrow : uint32_t { TW_NNA_NARROW(TW_NNA_ENUMERATOR) };  // 16 bits
enum Wide : uint32_t { TW_NNA_WIDE(TW_NNA_ENUMERATOR) };      // 32 bits and a 16-bit parameter
#undef TW_NNA_ENUMERATOR

enum Pooling : uint32_t { kMaxPool, kAveragePool, kReduceSum };
enum Elementwise : uint32_t { kMul, kAdd, kSub, kMin, kMax, kLeakyRelu, kAbs, kClz, kShiftRight, kShiftLeft };

}  // namespace tw::nna
