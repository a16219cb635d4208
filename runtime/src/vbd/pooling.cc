// Maxima, and means over the elements of a window that lie inside the map. Integers are taken as they are: both maps
// have one quantization.
#include <algorithm>

#include "../nna/reciprocal.h"
#include "operation.h"

namespace tw::vbd {

namespace {

void pool(const Stream& stream, Fields* fields, Memory* memory, bool average) {
  const Map &source = stream.map(fields), &target = stream.map(fields);
  const Window w = read_window(fields, source, target);
  fields->end();
  const uint64_t channels = source.channels;
  if (channels != target.channels) TW_VBD_BAD("%u channels from %u", target.channels, source.channels);
  if (source.depth > 16) TW_VBD_BAD("a source of %u bits", source.depth);
  if (source.depth != target.depth || source.is_signed != target.is_signed)
    TW_VBD_BAD("integers of %u bits from %u", target.depth, source.depth);
  memory->work(target.elements() * w.height * w.width);
  memory->elements(target.elements());
  const Values from = load(memory, source);
  Values to(target.elements());
  std::vector<int64_t> window(channels);
  for (uint64_t y = 0; y < target.height; ++y)
    for (uint64_t x = 0; x < target.width; ++x) {
      uint32_t count = 0;
      for (uint64_t ky = 0; ky < w.height; ++ky)
        for (uint64_t kx = 0; kx < w.width; ++kx) {
          const uint64_t row = y * w.stride_y + ky * w.dilation_y, column = x * w.stride_x + kx * w.dilation_x;
          if (row < w.top || row - w.top >= source.height || column < w.left || column - w.left >= source.width)
            continue;
          const int32_t* in = &from[((row - w.top) * source.width + column - w.left) * channels];
          for (uint64_t c = 0; c < channels; ++c)
            window[c] = !count ? in[c] : average ? window[c] + in[c] : std::max<int64_t>(window[c], in[c]);
          ++count;
        }
      if (!count) TW_VBD_BAD("a window that lies in the padding altogether");
      const nna::Reciprocal by = nna::reciprocal(count);
      for (uint64_t c = 0; c < channels; ++c) {
        const int64_t mean =
            average ? nna::scale_value(window[c], by.factor, by.shift, nna::Rounding::kNatural) : window[c];
        to[(y * target.width + x) * channels + c] = static_cast<int32_t>(nna::clamp(mean, target.low(), target.high()));
      }
    }
  store(memory, target, to);
}

}  // namespace

void run_maximum(const Stream& stream, Fields* fields, Memory* memory) { pool(stream, fields, memory, false); }

void run_average(const Stream& stream, Fields* fields, Memory* memory) { pool(stream, fields, memory, true); }

}  // namespace tw::vbd
