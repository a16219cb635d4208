// Stream order to [channel][y][x][input channel], after the loops of Vela's mlw_encode.c (reorder).
#include <algorithm>

#include "registers.h"
#include "weight_codec.h"

namespace tw::nna {

namespace {

constexpr uint32_t kIfmBlock = 8;  // input channels of a micro-block, on all accelerators

uint32_t up(uint32_t value, uint32_t multiple) { return (value + multiple - 1) / multiple * multiple; }

}  // namespace

template <typename Body>
void WeightOrder::visit(Body body) const {
  const uint32_t input_block = part_kernel || input_bits == 16 ? 16 : 32;
  const uint32_t inner_inputs = depthwise ? 1 : kIfmBlock;
  for (uint32_t block = 0; block < channels; block += block_depth) {
    const uint32_t block_channels = std::min(block_depth, channels - block);
    for (uint32_t input = 0; input < (depthwise ? 1 : depth); input += input_block) {
      const uint32_t inputs = depthwise ? kIfmBlock : part_kernel ? std::min(input_block, depth - input) : input_block;
      for (uint32_t part_y = 0; part_y < kernel_height; part_y += part_height)
        for (uint32_t part_x = 0; part_x < kernel_width; part_x += part_width) {
          const uint32_t height = std::min(part_height, kernel_height - part_y);
          const uint32_t width = std::min(part_width, kernel_width - part_x);
          uint32_t elements = height * width;
          if (depthwise || part_kernel) elements = up(elements, depthwise || input_bits == 8 ? 4 : 2);
          for (uint32_t outer = 0; outer < (part_kernel ? inputs : 1); outer += kIfmBlock)
            for (uint32_t channel = 0; channel < block_channels; channel += ofm_block)
              for (uint32_t element = 0; element < elements; ++element) {
                const uint32_t x = part_x + element % width, y = part_y + element / width;
                for (uint32_t inner = 0; inner < (part_kernel ? 1 : inputs); inner += kIfmBlock)
                  for (uint32_t c = 0; c < ofm_block; ++c)
                    for (uint32_t i = 0; i < inner_inputs; ++i) {
                      const uint32_t in = input + outer + inner + i, out = block + channel + c;
                      const bool real = in < depth && out < channels && element / width < height;
                      body(real ? out : kPadding, y, x, in);
                    }
              }
        }
    }
  }
}

uint64_t WeightOrder::count() const {
  const uint64_t input_block = part_kernel || input_bits == 16 ? 16 : 32;
  uint64_t elements = 0;
  for (uint32_t y = 0; y < kernel_height; y += part_height)
    for (uint32_t x = 0; x < kernel_width; x += part_width) {
      const uint32_t part = std::min(part_height, kernel_height - y) * std::min(part_width, kernel_width - x);
      elements += depthwise || part_kernel ? up(part, depthwise || input_bits == 8 ? 4 : 2) : part;
    }
  uint64_t inputs = 0;  // of all input blocks, padding included
  if (depthwise)
    inputs = 1;
  else if (part_kernel)
    for (uint32_t input = 0; input < depth; input += input_block)
      inputs += up(std::min<uint32_t>(input_block, depth - input), kIfmBlock);
  else
    inputs = (depth + input_block - 1) / input_block * input_block;
  uint64_t outputs = 0;
  for (uint32_t block = 0; block < channels; block += block_depth)
    outputs += up(std::min(block_depth, channels - block), ofm_block);
  return elements * inputs * outputs;
}

void order_weights(const WeightOrder& order, const std::vector<int16_t>& stream, int16_t* to) {
  size_t next = 0;
  order.visit([&](uint32_t channel, uint32_t y, uint32_t x, uint32_t input) {
    const int16_t weight = stream.at(next++);
    if (channel == WeightOrder::kPadding) return;
    to[((uint64_t{channel} * order.kernel_height + y) * order.kernel_width + x) * order.depth + input] = weight;
  });
}

}  // namespace tw::nna
