#include "operation.h"

#include <algorithm>

namespace tw::nna {

namespace {

Window read_window(const Registers& registers) {
  Window window;
  const uint32_t bits = registers.get(KERNEL_STRIDE);
  window.stride_x = 1 + (bits & 1) + (bits >> 6 & 7) * 2;
  window.stride_y = 1 + (bits >> 1 & 1) + (bits >> 9 & 7) * 2;
  window.part_kernel = bits >> 2 & 1;
  window.dilation_x = 1 + (bits >> 3 & 1);
  window.dilation_y = 1 + (bits >> 4 & 1);
  window.height = registers.get(KERNEL_HEIGHT_M1) / window.dilation_y + 1;
  window.width = registers.get(KERNEL_WIDTH_M1) / window.dilation_x + 1;
  window.top = registers.get(IFM_PAD_TOP);
  window.left = registers.get(IFM_PAD_LEFT);
  window.bottom = registers.get(IFM_PAD_BOTTOM);
  window.right = registers.get(IFM_PAD_RIGHT);
  return window;
}

// How far the windows of count outputs reach over an input that is padded and upscaled.
uint32_t reach(uint32_t count, uint32_t stride, uint32_t kernel, uint32_t dilation) {
  return (count - 1) * stride + (kernel - 1) * dilation + 1;  // below 2^22
}

// Rows (or columns) of the input itself that are reached.
uint32_t reached(uint32_t reach, uint32_t before, uint32_t after, Upscale upscale, const char* what) {
  if (before + after >= reach) TW_NNA_BAD("padding %u and %u covers all %u %s", before, after, reach, what);
  const uint32_t inner = reach - before - after;
  return upscale == Upscale::kNone ? inner : (inner + 1) / 2;
}

OutputStage read_output(const Registers& registers, const FeatureMap& ofm) {
  OutputStage stage;
  const uint32_t precision = registers.get(OFM_PRECISION), mode = precision >> 14;
  if (mode > 2) TW_NNA_BAD("NPU_SET_OFM_PRECISION is 0x%04x, an unknown rounding mode", precision);
  stage.rounding = static_cast<Rounding>(mode);
  stage.global_scale = precision >> 8 & 1;
  if (stage.global_scale) stage.scale = {registers.payload(OFM_SCALE), registers.parameter(OFM_SCALE) & 63};
  const uint32_t activation = registers.get(ACTIVATION), range = activation >> 12;
  stage.activation = activation & 0xFFF;
  if (stage.activation && stage.activation != 3 && stage.activation != 4 &&
      (stage.activation < 16 || stage.activation > 23))
    TW_NNA_BAD("NPU_SET_ACTIVATION is 0x%04x, an unknown function", activation);
  switch (range) {
    case 0:
      stage.range_low = ofm.lowest(), stage.range_high = ofm.highest();
      break;
    case 2:
      stage.range_low = 0, stage.range_high = 255;
      break;
    case 3:
      stage.range_low = -128, stage.range_high = 127;
      break;
    case 5:
      stage.range_low = -32768, stage.range_high = 32767;
      break;
    default:
      TW_NNA_BAD("NPU_SET_ACTIVATION is 0x%04x, an unknown range", activation);
  }
  stage.low = stage.range_low, stage.high = stage.range_high;
  // The bounds have 16 bits: results of 32 bits are not clamped by them.
  if (ofm.bytes < 4 || range) {
    const bool is_signed = ofm.is_signed || range == 3 || range == 5;
    const auto bound = [&](Narrow code) -> int64_t {
      return is_signed ? int64_t{registers.get_signed(code)} : int64_t{registers.get(code)};
    };
    stage.low = std::max(stage.low, bound(ACTIVATION_MIN));
    stage.high = std::min(stage.high, bound(ACTIVATION_MAX));
    if (stage.low > stage.high)
      TW_NNA_BAD("the activation's range is empty: %lld to %lld", static_cast<long long>(stage.low),
                 static_cast<long long>(stage.high));
  }
  return stage;
}

}  // namespace

BlockOperation read_operation(const Registers& registers, const Accelerator& accelerator, bool windowed) {
  BlockOperation op;
  op.ifm = read_ifm(registers);
  op.ofm = read_ofm(registers);
  op.output = read_output(registers, op.ofm);
  op.ofm_shape.height = registers.get(OFM_HEIGHT_M1) + 1u;
  op.ofm_shape.width = registers.get(OFM_WIDTH_M1) + 1u;
  op.ofm_shape.depth = registers.get(OFM_DEPTH_M1) + 1u;
  op.ofm_block = accelerator.ofm_block;
  op.cores = registers.get_or(PARALLEL_MODE, 0) + 1u;
  if (op.cores > accelerator.cores)
    TW_NNA_BAD("%u cores work in parallel on an accelerator with %u", op.cores, accelerator.cores);
  op.block_depth = registers.get(OFM_BLK_DEPTH_M1) + 1u;
  const uint32_t format = registers.get(ACC_FORMAT);
  if (format > 1) TW_NNA_BAD("NPU_SET_ACC_FORMAT is %u, neither 32 (0) nor 40 bits (1)", format);
  op.accumulator_bits = format ? 40 : 32;
  const uint32_t upscale = registers.get_or(IFM_UPSCALE, 0);
  if (upscale > 2) TW_NNA_BAD("NPU_SET_IFM_UPSCALE is %u, an unknown mode", upscale);
  op.ifm_shape = {op.ofm_shape.height, op.ofm_shape.width, registers.get(IFM_DEPTH_M1) + 1u};
  if (!windowed) {
    if (upscale) TW_NNA_BAD("an elementwise operation with upscaling");
    return op;
  }
  op.window = read_window(registers);
  const Window& w = op.window;
  op.window.upscale = static_cast<Upscale>(upscale);
  op.ifm_shape.height =
      reached(reach(op.ofm_shape.height, w.stride_y, w.height, w.dilation_y), w.top, w.bottom, w.upscale, "rows");
  op.ifm_shape.width =
      reached(reach(op.ofm_shape.width, w.stride_x, w.width, w.dilation_x), w.left, w.right, w.upscale, "columns");
  return op;
}

template <typename T>
Plane<T> make_plane(const BlockOperation& op, Memory* memory) {
  const Window& w = op.window;
  Plane<T> plane;
  plane.height = reach(op.ofm_shape.height, w.stride_y, w.height, w.dilation_y);
  plane.width = reach(op.ofm_shape.width, w.stride_x, w.width, w.dilation_x);
  plane.depth = op.ifm_shape.depth;
  memory->elements(Shape{plane.height, plane.width, plane.depth}.size());
  const std::vector<T> source = load<T>(memory, op.ifm, op.ifm_shape);
  if (w.upscale == Upscale::kNone && !w.padded()) {
    plane.values = source;
    plane.valid_y.assign(plane.height, true);
    plane.valid_x.assign(plane.width, true);
    return plane;
  }
  plane.values.assign(Shape{plane.height, plane.width, plane.depth}.size(), 0);
  plane.valid_y.assign(plane.height, false);
  plane.valid_x.assign(plane.width, false);
  const uint32_t step = w.upscale == Upscale::kNone ? 1 : 2;
  for (uint32_t y = w.top; y < plane.height - w.bottom; ++y) {
    plane.valid_y[y] = true;
    for (uint32_t x = w.left; x < plane.width - w.right; ++x) {
      plane.valid_x[x] = true;
      const uint32_t u = y - w.top, v = x - w.left;
      if (w.upscale == Upscale::kZeros && (u % 2 || v % 2)) continue;
      const T* from = &source[(size_t{u / step} * op.ifm_shape.width + v / step) * plane.depth];
      std::copy_n(from, plane.depth, &plane.values[(size_t{y} * plane.width + x) * plane.depth]);
    }
  }
  return plane;
}

template Plane<int16_t> make_plane(const BlockOperation&, Memory*);
template Plane<int64_t> make_plane(const BlockOperation&, Memory*);

}  // namespace tw::nna
