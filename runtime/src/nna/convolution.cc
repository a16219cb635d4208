// Convolution and depthwise convolution.
#include <algorithm>
#include <cinttypes>

#include "operation.h"
#include "weight_codec.h"

namespace tw::nna {

namespace {

constexpr uint32_t kRecord = 10;  // bytes of a channel's bias and scale

struct Channel {
  int64_t bias = 0;
  Scale scale;
};

constexpr Wide kWeights[2][2] = {{WEIGHT_BASE, WEIGHT_LENGTH}, {WEIGHT1_BASE, WEIGHT1_LENGTH}};
constexpr Wide kScales[2][2] = {{SCALE_BASE, SCALE_LENGTH}, {SCALE1_BASE, SCALE1_LENGTH}};

// Channels of the output that one core computes: every cores-th.
uint32_t share(uint32_t depth, uint32_t core, uint32_t cores) { return (depth - core + cores - 1) / cores; }

// 40-bit bias, 32-bit factor, 6-bit shift.
Channel read_record(const uint8_t* record) {
  Channel channel;
  uint64_t bias = 0;
  for (int i = 0; i < 5; ++i) bias |= uint64_t{record[i]} << 8 * i;
  channel.bias = static_cast<int64_t>(bias << 24) >> 24;
  channel.scale.factor = 0;
  for (int i = 0; i < 4; ++i) channel.scale.factor |= uint32_t{record[5 + i]} << 8 * i;
  channel.scale.shift = record[9] & 63;
  return channel;
}

std::vector<Channel> read_channels(const Registers& registers, const BlockOperation& op, const Memory& memory) {
  std::vector<Channel> channels(op.ofm_shape.depth);
  for (uint32_t core = 0; core < std::min(op.cores, op.ofm_shape.depth); ++core) {
    const uint32_t count = share(op.ofm_shape.depth, core, op.cores);
    const uint64_t length = registers.payload(kScales[core][1]);
    if (length < uint64_t{count} * kRecord)
      TW_NNA_BAD("%" PRIu64 " bytes of scales for %u channels, which need %u each", length, count, kRecord);
    const uint8_t* from = memory.read(registers.get(SCALE_REGION), registers.get(kScales[core][0]), length, "scales");
    for (uint32_t i = 0; i < count; ++i) channels[i * op.cores + core] = read_record(from + i * kRecord);
  }
  return channels;
}

// Weights as [channel][y][x][input channel].
std::vector<int16_t> read_weights(const Registers& registers, const BlockOperation& op, bool depthwise,
                                  Memory* memory) {
  const Window& w = op.window;
  const uint32_t depth = depthwise ? 1 : op.ifm_shape.depth;
  const uint64_t each = uint64_t{w.height} * w.width * depth;
  memory->elements(each * op.ofm_shape.depth);
  std::vector<int16_t> weights(each * op.ofm_shape.depth), part;
  for (uint32_t core = 0; core < std::min(op.cores, op.ofm_shape.depth); ++core) {
    WeightOrder order;
    order.channels = share(op.ofm_shape.depth, core, op.cores);
    order.block_depth = (op.block_depth + op.cores - 1 - core) / op.cores;
    if (!order.block_depth) TW_NNA_BAD("blocks of %u channels for %u cores", op.block_depth, op.cores);
    order.kernel_height = w.height, order.kernel_width = w.width;
    order.part_height = 8 / w.dilation_y, order.part_width = 8 / w.dilation_x;
    order.depth = depth, order.ofm_block = op.ofm_block, order.input_bits = op.ifm.bytes * 8;
    order.depthwise = depthwise, order.part_kernel = w.part_kernel;
    const uint64_t length = registers.payload(kWeights[core][1]), count = order.count();
    memory->elements(count);
    const uint8_t* from =
        memory->read(registers.get(WEIGHT_REGION), registers.get(kWeights[core][0]), length, "weights");
    part.assign(order.channels * each, 0);
    order_weights(order, decode_weights({from, length}, count), part.data());
    for (uint32_t i = 0; i < order.channels; ++i)
      std::copy_n(&part[i * each], each, &weights[(uint64_t{i} * op.cores + core) * each]);
  }
  return weights;
}

// Two's complement of as many bits as an accumulator has; overflow wraps.
int64_t wrap(int64_t sum, uint32_t bits) {
  return static_cast<int64_t>(static_cast<uint64_t>(sum) << (64 - bits)) >> (64 - bits);
}

// T and Sum are int16_t and int32_t for inputs of 8 bits, else 64 bits wide. Differences of 8 bits and weights of 9
// have products below 2^17, so that kRun of them fit 32 bits.
constexpr uint32_t kRun = 1u << 14;

template <typename T, typename Sum>
int64_t dot(const T* in, const int16_t* weight, uint32_t depth) {
  uint64_t sum = 0;
  for (uint32_t c = 0; c < depth; c += kRun) {
    Sum partial = 0;
    const uint32_t end = std::min(depth, c + kRun);
    for (uint32_t i = c; i < end; ++i) partial += static_cast<Sum>(in[i]) * weight[i];
    sum += static_cast<uint64_t>(int64_t{partial});
  }
  return static_cast<int64_t>(sum);
}

template <typename T, typename Sum>
void convolve(const BlockOperation& op, const Plane<T>& plane, const std::vector<int16_t>& weights, bool depthwise,
              std::vector<int64_t>* sums) {
  const Window& w = op.window;
  const uint32_t depth = depthwise ? 1 : plane.depth, channels = op.ofm_shape.depth;
  const uint64_t each = uint64_t{w.height} * w.width * depth;
  for (uint32_t y = 0; y < op.ofm_shape.height; ++y)
    for (uint32_t x = 0; x < op.ofm_shape.width; ++x) {
      int64_t* to = &(*sums)[(size_t{y} * op.ofm_shape.width + x) * channels];
      for (uint32_t ky = 0; ky < w.height; ++ky)
        for (uint32_t kx = 0; kx < w.width; ++kx) {
          const T* in = plane.at(y * w.stride_y + ky * w.dilation_y, x * w.stride_x + kx * w.dilation_x);
          const int16_t* weight = &weights[(uint64_t{ky} * w.width + kx) * depth];
          for (uint32_t channel = 0; channel < channels; ++channel, weight += each)
            to[channel] += depthwise ? int64_t{in[channel]} * *weight : dot<T, Sum>(in, weight, depth);
        }
    }
}

}  // namespace

void run_convolution(const Registers& registers, const BlockOperation& op, bool depthwise, Memory* memory) {
  if (op.ifm.bytes == 4) TW_NNA_BAD("a convolution of 32-bit inputs");
  if (depthwise && op.ifm_shape.depth != op.ofm_shape.depth)
    TW_NNA_BAD("a depthwise convolution of %u channels to %u", op.ifm_shape.depth, op.ofm_shape.depth);
  const uint64_t depth = depthwise ? 1 : op.ifm_shape.depth;
  const Wide128 products = Wide128{op.ofm_shape.size()} * op.window.height * op.window.width * depth;
  memory->work(products > UINT64_MAX ? UINT64_MAX : static_cast<uint64_t>(products));
  const std::vector<Channel> channels = read_channels(registers, op, *memory);
  const std::vector<int16_t> weights = read_weights(registers, op, depthwise, memory);
  std::vector<int64_t> sums(op.ofm_shape.size());
  if (op.ifm.bytes == 1)
    convolve<int16_t, int32_t>(op, make_plane<int16_t>(op, memory), weights, depthwise, &sums);
  else
    convolve<int64_t, int64_t>(op, make_plane<int64_t>(op, memory), weights, depthwise, &sums);
  for (size_t i = 0; i < sums.size(); ++i) {
    const Channel& channel = channels[i % op.ofm_shape.depth];
    const Scale& scale = op.output.global_scale ? op.output.scale : channel.scale;
    const int64_t sum = wrap(sums[i] + channel.bias, op.accumulator_bits);
    sums[i] = scale_value(sum, scale.factor, scale.shift, op.output.rounding);
  }
  store(memory, op.ofm, op.ofm_shape, finish(op, *memory, sums));
}

}  // namespace tw::nna
