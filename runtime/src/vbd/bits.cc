#include "bits.h"

namespace tw::vbd {

void unpack(const uint8_t* data, uint64_t count, uint32_t depth, bool is_signed, int32_t* values) {
  const uint64_t mask = (uint64_t{1} << depth) - 1;
  const int64_t half = is_signed ? int64_t{1} << (depth - 1) : 0;
  uint64_t window = 0;
  uint32_t held = 0;
  for (uint64_t i = 0; i < count; ++i) {
    for (; held < depth; held += 8) window |= uint64_t{*data++} << held;
    const int64_t symbol = static_cast<int64_t>(window & mask);
    values[i] = static_cast<int32_t>((symbol ^ half) - half);
    window >>= depth, held -= depth;
  }
}

void pack(const int32_t* values, uint64_t count, uint32_t depth, uint8_t* data) {
  const uint64_t mask = (uint64_t{1} << depth) - 1;
  uint64_t window = 0;
  uint32_t held = 0;
  for (uint64_t i = 0; i < count; ++i) {
    window |= (static_cast<uint64_t>(values[i]) & mask) << held;
    for (held += depth; held >= 8; held -= 8, window >>= 8) *data++ = static_cast<uint8_t>(window);
  }
  if (held) *data = static_cast<uint8_t>(window);
}

}  // namespace tw::vbd
