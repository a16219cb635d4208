// Maximum, average and sum over channels.
#include <algorithm>

#include "operation.h"
#include "reciprocal.h"

namespace tw::nna {

namespace {

void pool_windows(const BlockOperation& op, bool average, Memory* memory, std::vector<int64_t>* values) {
  const Window& w = op.window;
  const Plane<int64_t> plane = make_plane<int64_t>(op, memory);
  const uint32_t channels = op.ofm_shape.depth;
  for (uint32_t y = 0; y < op.ofm_shape.height; ++y)
    for (uint32_t x = 0; x < op.ofm_shape.width; ++x) {
      int64_t* to = &(*values)[(size_t{y} * op.ofm_shape.width + x) * channels];
      uint32_t count = 0;
      for (uint32_t ky = 0; ky < w.height; ++ky)
        for (uint32_t kx = 0; kx < w.width; ++kx) {
          const uint32_t row = y * w.stride_y + ky * w.dilation_y, column = x * w.stride_x + kx * w.dilation_x;
          if (!plane.valid_y[row] || !plane.valid_x[column]) continue;
          const int64_t* in = plane.at(row, column);
          for (uint32_t c = 0; c < channels; ++c)
            to[c] = !count ? in[c] : average ? to[c] + in[c] : std::max(to[c], in[c]);
          ++count;
        }
      if (!count) TW_NNA_BAD("a pooling window lies in the padding altogether");
      Scale scale = op.output.scale;
      if (average && w.padded()) {
        const Reciprocal by = reciprocal(count);
        scale = {by.factor, by.shift};
      }
      if (average || op.output.global_scale)
        for (uint32_t c = 0; c < channels; ++c)
          to[c] = scale_value(to[c], scale.factor, scale.shift, op.output.rounding);
    }
}

void sum_channels(const BlockOperation& op, Memory* memory, std::vector<int64_t>* values) {
  if (op.window.height * op.window.width != 1) TW_NNA_BAD("a sum over channels with a window");
  if (op.ofm_shape.depth != 1) TW_NNA_BAD("a sum over channels with %u output channels", op.ofm_shape.depth);
  const Plane<int64_t> plane = make_plane<int64_t>(op, memory);
  for (size_t i = 0; i < values->size(); ++i) {
    int64_t sum = 0;
    for (uint32_t c = 0; c < plane.depth; ++c) sum += plane.values[i * plane.depth + c];
    (*values)[i] = scale_value(sum, op.output.scale.factor, op.output.scale.shift, op.output.rounding);
  }
}

}  // namespace

void run_pooling(const BlockOperation& op, uint32_t mode, Memory* memory) {
  if (mode > kReduceSum) TW_NNA_BAD("unknown pooling mode %u", mode);
  if (mode != kReduceSum && op.ifm_shape.depth != op.ofm_shape.depth)
    TW_NNA_BAD("pooling of %u channels to %u", op.ifm_shape.depth, op.ofm_shape.depth);
  const Wide128 steps = Wide128{op.ofm_shape.size()} * op.window.height * op.window.width;
  memory->work(steps > UINT64_MAX ? UINT64_MAX : static_cast<uint64_t>(steps));
  std::vector<int64_t> values(op.ofm_shape.size());
  if (mode == kReduceSum)
    sum_channels(op, memory, &values);
  else
    pool_windows(op, mode == kAveragePool, memory, &values);
  store(memory, op.ofm, op.ofm_shape, finish(op, *memory, values));
}

}  // namespace tw::nna
