// Feature maps in memory: up to four tiles, NHWC or NHCWB16 (bricks of 16 channels), 8, 16 or 32 bits.
#pragma once

#include <cstdint>
#include <vector>

#include "memory.h"
#include "registers.h"

namespace tw::nna {

struct Shape {
  uint32_t height = 0, width = 0, depth = 0;
  uint64_t size() const { return uint64_t{height} * width * depth; }
};

struct FeatureMap {
  const char* name = "";
  uint32_t region = 0;
  int64_t base[4] = {};
  int64_t stride_y = 0, stride_x = 0, stride_c = 0;  // bytes, may be negative; stride_c lies between bricks
  // Tile 0 holds rows and columns below height0 and width0; tile 1 those right of it, with rows below height1; tiles
  // 2 and 3 what lies below tiles 0 and 1.
  uint32_t height0 = 0, height1 = 0, width0 = 0;
  uint32_t bytes = 1;  // of an element
  bool is_signed = false, bricks = false;
  int32_t zero = 0;

  int64_t lowest() const { return is_signed ? -(int64_t{1} << (bytes * 8 - 1)) : 0; }
  int64_t highest() const { return (int64_t{1} << (bytes * 8 - is_signed)) - 1; }
};

FeatureMap read_ifm(const Registers& registers);
FeatureMap read_ifm2(const Registers& registers);  // without addresses where the operand is a scalar
FeatureMap read_ofm(const Registers& registers);

// All elements, zero point subtracted, row-major [height][width][depth]. T is int16_t only for 8 bits.
template <typename T>
std::vector<T> load(Memory* memory, const FeatureMap& map, const Shape& shape);

// Writes elements that already have their final value.
void store(Memory* memory, const FeatureMap& map, const Shape& shape, const std::vector<int32_t>& values);

}  // namespace tw::nna
