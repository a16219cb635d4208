// An operation's registers, read and checked once.
#pragma once

#include <cstdint>
#include <vector>

#include "feature_map.h"
#include "memory.h"
#include "registers.h"
#include "rounding.h"

namespace tw::nna {

enum class Upscale : uint32_t { kNone, kNearest, kZeros };

struct Window {
  uint32_t height = 1, width = 1;  // kernel elements
  uint32_t stride_y = 1, stride_x = 1, dilation_y = 1, dilation_x = 1;
  uint32_t top = 0, left = 0, bottom = 0, right = 0;  // padding
  Upscale upscale = Upscale::kNone;
  bool part_kernel = false;
  bool padded() const { return top || left || bottom || right; }
};

struct Scale {
  uint32_t factor = 1, shift = 0;
};

// What an accumulator goes through on its way to the output.
struct OutputStage {
  Rounding rounding = Rounding::kDouble;
  bool global_scale = false;
  Scale scale;  // if global
  uint32_t activation = 0;
  int64_t range_low = 0, range_high = 0;  // of the output's type, or the range that the activation forces
  int64_t low = 0, high = 0;              // of the clamp
};

struct BlockOperation {
  Shape ifm_shape, ofm_shape;  // the input's: what the output's windows reach, without padding and upscaling
  FeatureMap ifm, ofm;
  Window window;
  OutputStage output;
  uint32_t cores = 1, ofm_block = 8;
  uint32_t block_depth = 0;
  uint32_t accumulator_bits = 32;
};

// Reads what all block operations share. windowed: with a kernel and padding.
BlockOperation read_operation(const Registers& registers, const Accelerator& accelerator, bool windowed);

// The operations. Each throws Error(TW_ARTIFACT).
void run_convolution(const Registers& registers, const BlockOperation& op, bool depthwise, Memory* memory);
void run_pooling(const BlockOperation& op, uint32_t mode, Memory* memory);
void run_elementwise(const Registers& registers, const BlockOperation& op, uint32_t mode, Memory* memory);

// Offset, activation and clamp: final values from scaled accumulators.
std::vector<int32_t> finish(const BlockOperation& op, const Memory& memory, const std::vector<int64_t>& values);

// The input as windows see it: padded with zeros and upscaled. Which rows and columns hold elements of the input:
// valid_y, valid_x (elements that upscaling inserts do not).
template <typename T>
struct Plane {
  uint32_t height = 0, width = 0, depth = 0;
  std::vector<T> values;
  std::vector<bool> valid_y, valid_x;
  const T* at(uint32_t y, uint32_t x) const { return &values[(size_t{y} * width + x) * depth]; }
};
template <typename T>
Plane<T> make_plane(const BlockOperation& op, Memory* memory);

}  // namespace tw::nna
