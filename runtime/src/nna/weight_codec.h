// The Ethos-U weight codec: bits to weights in stream order, and stream order to [channel][y][x][input channel].
#pragma once

#include <cstdint>
#include <vector>

#include "../span.h"

namespace tw::nna {

// The weights of a stream, which must be exactly count. Throws Error(TW_ARTIFACT).
std::vector<int16_t> decode_weights(Bytes stream, size_t count);

// How one core's weights follow one another.
struct WeightOrder {
  uint32_t channels = 0;     // this core's
  uint32_t block_depth = 0;  // channels of an output block, this core's
  uint32_t kernel_height = 0, kernel_width = 0;
  uint32_t part_height = 8, part_width = 8;  // kernels are cut into parts of at most this size
  uint32_t depth = 0;                        // input channels; 1 if depthwise
  uint32_t ofm_block = 8;                    // channels of an output micro-block
  uint32_t input_bits = 8;
  bool depthwise = false, part_kernel = false;

  // Calls body(channel, y, x, input channel) for every weight of the stream, padding included: then channel is
  // kPadding.
  static constexpr uint32_t kPadding = ~0u;
  template <typename Body>
  void visit(Body body) const;
  uint64_t count() const;  // weights in the stream
};

// Puts a core's weights at to[((channel * kernel_height + y) * kernel_width + x) * depth + input channel].
void order_weights(const WeightOrder& order, const std::vector<int16_t>& stream, int16_t* to);

}  // namespace tw::nna
