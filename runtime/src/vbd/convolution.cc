// Convolution and depthwise convolution; a fully connected layer is a convolution of 1 x 1 over a map of 1 x 1.
#include <algorithm>
#include <cinttypes>

#include "operation.h"

namespace tw::vbd {

namespace {

constexpr uint32_t kScaleBytes = 5, kMostBiasBytes = 6;
constexpr int64_t kMostSum = (int64_t{1} << 47) - 1;  // accumulators have 48 bits
constexpr int64_t kMostPartial = INT32_MAX;
constexpr int64_t kShortRun = 16;

struct Layer {
  Map source, target;
  Window window{};
  bool depthwise = false;
  uint32_t depth = 0;  // of the weights
  uint64_t taps = 0;   // products of an accumulator
  Values weights;      // [output channel][y][x][input channel]; of depthwise ones [y][x][channel]
  std::vector<int64_t> biases;
  std::vector<uint32_t> factors, shifts;
};

uint64_t work_of(const Layer& layer) {
  const nna::Wide128 products = nna::Wide128{layer.target.elements()} * layer.taps;
  return products > UINT64_MAX ? UINT64_MAX : static_cast<uint64_t>(products);
}

void read_weights(Fields* fields, Memory* memory, Layer* layer) {
  const uint32_t address = fields->next(), channels = layer->target.channels;
  layer->depth = fields->next();
  if (!is_depth(layer->depth)) TW_VBD_BAD("weights with a depth of %u bits", layer->depth);
  const Values stored = load_weights(memory, address, layer->taps * channels, layer->depth, true, "a layer's weights");
  layer->weights = stored;
  if (!layer->depthwise) return;
  for (uint32_t channel = 0; channel < channels; ++channel)
    for (uint64_t tap = 0; tap < layer->taps; ++tap)
      layer->weights[tap * channels + channel] = stored[channel * layer->taps + tap];
}

void read_biases(Fields* fields, Memory* memory, Layer* layer) {
  const uint32_t address = fields->next(), each = fields->next(), channels = layer->target.channels;
  if (!each || each > kMostBiasBytes) TW_VBD_BAD("biases of %u bytes", each);
  const uint8_t* from = memory->read(kWeights, address, uint64_t{channels} * each, "a layer's biases");
  for (uint32_t channel = 0; channel < channels; ++channel) {
    uint64_t bits = 0;
    for (uint32_t i = 0; i < each; ++i) bits |= uint64_t{*from++} << 8 * i;
    layer->biases.push_back(static_cast<int64_t>(bits << (64 - 8 * each)) >> (64 - 8 * each));
  }
}

void read_scales(Fields* fields, Memory* memory, Layer* layer) {
  const uint32_t address = fields->next(), count = fields->next(), channels = layer->target.channels;
  if (count != 1 && count != channels) TW_VBD_BAD("%u scales for %u channels", count, channels);
  const uint8_t* from = memory->read(kWeights, address, uint64_t{count} * kScaleBytes, "a layer's scales");
  for (uint32_t channel = 0; channel < channels; ++channel) {
    const uint8_t* record = from + (count == 1 ? 0 : uint64_t{channel} * kScaleBytes);
    uint32_t factor = 0;
    for (int i = 0; i < 4; ++i) factor |= uint32_t{record[i]} << 8 * i;
    check_shift(record[4]);
    layer->factors.push_back(factor), layer->shifts.push_back(record[4]);
  }
}

// The source without its zero point, padded with zeros.
template <typename T>
struct Plane {
  uint64_t height, width, channels;
  std::vector<T> values;
  const T* at(uint64_t y, uint64_t x) const { return &values[(y * width + x) * channels]; }
};

template <typename T>
Plane<T> make_plane(const Layer& layer, Memory* memory) {
  const Map& map = layer.source;
  const Window& w = layer.window;
  Plane<T> plane{uint64_t{w.top} + map.height + w.bottom, uint64_t{w.left} + map.width + w.right, map.channels, {}};
  memory->elements(plane.height * plane.width * plane.channels);
  plane.values.resize(plane.height * plane.width * plane.channels);
  const Values values = load(memory, map);
  const uint64_t row = uint64_t{map.width} * map.channels;
  for (uint64_t y = 0; y < map.height; ++y) {
    T* to = &plane.values[((y + w.top) * plane.width + w.left) * plane.channels];
    for (uint64_t i = 0; i < row; ++i) to[i] = static_cast<T>(values[y * row + i] - map.zero);
  }
  return plane;
}

// T and Sum are 16 and 32 bits wide where runs of products fit that, else 32 and 64.
template <typename T, typename Sum>
int64_t dot(const T* in, const T* weight, uint64_t taps, uint64_t run) {
  int64_t sum = 0;
  for (uint64_t first = 0; first < taps; first += run) {
    Sum partial = 0;
    const uint64_t end = std::min(taps, first + run);
    for (uint64_t i = first; i < end; ++i) partial += static_cast<Sum>(in[i]) * weight[i];
    sum += partial;
  }
  return sum;
}

template <typename T, typename Sum>
void convolve(const Layer& layer, const Plane<T>& plane, uint64_t run, std::vector<int64_t>* sums) {
  const Window& w = layer.window;
  const std::vector<T> weights(layer.weights.begin(), layer.weights.end());
  const uint64_t channels = layer.target.channels, depth = plane.channels;
  std::vector<T> patch(layer.depthwise ? 0 : layer.taps);
  int64_t* to = sums->data();
  for (uint64_t y = 0; y < layer.target.height; ++y)
    for (uint64_t x = 0; x < layer.target.width; ++x, to += channels) {
      uint64_t tap = 0;
      for (uint64_t ky = 0; ky < w.height; ++ky)
        for (uint64_t kx = 0; kx < w.width; ++kx, ++tap) {
          const T* in = plane.at(y * w.stride_y + ky * w.dilation_y, x * w.stride_x + kx * w.dilation_x);
          if (!layer.depthwise)
            std::copy_n(in, depth, &patch[tap * depth]);
          else
            for (uint64_t c = 0; c < channels; ++c) to[c] += int64_t{in[c]} * weights[tap * channels + c];
        }
      for (uint64_t c = 0; !layer.depthwise && c < channels; ++c)
        to[c] = dot<T, Sum>(patch.data(), &weights[c * layer.taps], layer.taps, run);
    }
}

void run_layer(const Stream& stream, Fields* fields, Memory* memory, bool depthwise) {
  Layer layer;
  layer.source = stream.map(fields), layer.target = stream.map(fields), layer.depthwise = depthwise;
  layer.window = read_window(fields, layer.source, layer.target);
  if (layer.source.depth > 16) TW_VBD_BAD("a source of %u bits", layer.source.depth);
  if (depthwise && layer.source.channels != layer.target.channels)
    TW_VBD_BAD("%u channels from %u", layer.target.channels, layer.source.channels);
  layer.taps = uint64_t{layer.window.height} * layer.window.width * (depthwise ? 1 : layer.source.channels);
  memory->work(work_of(layer));
  read_weights(fields, memory, &layer);
  read_biases(fields, memory, &layer);
  read_scales(fields, memory, &layer);
  const Output output(fields, layer.target);
  fields->end();
  memory->elements(layer.target.elements());
  std::vector<int64_t> sums(layer.target.elements());
  const int64_t product = layer.source.reach() << (layer.depth - 1), run = kMostPartial / product;
  if (layer.source.reach() <= INT16_MAX && run >= kShortRun)
    convolve<int16_t, int32_t>(layer, make_plane<int16_t>(layer, memory), static_cast<uint64_t>(run), &sums);
  else
    convolve<int32_t, int64_t>(layer, make_plane<int32_t>(layer, memory), layer.taps, &sums);
  Values values(sums.size());
  for (size_t i = 0; i < sums.size(); ++i) {
    const size_t channel = i % layer.target.channels;
    const int64_t sum = sums[i] + layer.biases[channel];
    if (sum > kMostSum || sum < -kMostSum) TW_VBD_BAD("an accumulator of %" PRId64 ", which 48 bits do not hold", sum);
    values[i] = output(sum, layer.factors[channel], layer.shifts[channel]);
  }
  store(memory, layer.target, values);
}

}  // namespace

void run_convolution(const Stream& stream, Fields* fields, Memory* memory) { run_layer(stream, fields, memory, false); }

void run_depthwise(const Stream& stream, Fields* fields, Memory* memory) { run_layer(stream, fields, memory, true); }

}  // namespace tw::vbd
