#include "operation.h"

#include <cinttypes>
#include <cstring>

#include "bits.h"

namespace tw::vbd {

namespace {

constexpr uint32_t kMostWindow = 255;

template <typename T>
void widen(const uint8_t* from, const Map& map, Values* values) {
  for (size_t i = 0; i < values->size(); ++i) {
    T value;
    memcpy(&value, from + i * sizeof value, sizeof value);
    (*values)[i] = static_cast<int32_t>(nna::clamp<int64_t>(value, map.low(), map.high()));
  }
}

uint32_t outputs(uint32_t size, uint32_t before, uint32_t after, uint32_t reach, uint32_t stride) {
  const uint32_t padded = size + before + after;
  return padded < reach ? 0 : (padded - reach) / stride + 1;
}

}  // namespace

Values load(Memory* memory, const Map& map) {
  memory->elements(map.elements());
  Values values(map.elements());
  const uint8_t* from = memory->read(map.region, map.address, map.nbytes(), "a map");
  if (map.packed)
    unpack(from, values.size(), map.depth, map.is_signed, values.data());
  else if (map.depth > 16)
    widen<int32_t>(from, map, &values);
  else if (map.depth > 8)
    map.is_signed ? widen<int16_t>(from, map, &values) : widen<uint16_t>(from, map, &values);
  else
    map.is_signed ? widen<int8_t>(from, map, &values) : widen<uint8_t>(from, map, &values);
  return values;
}

void store(Memory* memory, const Map& map, const Values& values) {
  memory->elements(map.elements());
  uint8_t* to = memory->write(map.region, map.address, map.nbytes(), "a map");
  if (map.packed) return pack(values.data(), values.size(), map.depth, to);
  const size_t bytes = map.nbytes() / values.size();
  for (size_t i = 0; i < values.size(); ++i) memcpy(to + i * bytes, &values[i], bytes);  // little-endian
}

Values load_weights(Memory* memory, uint32_t address, uint64_t count, uint32_t depth, bool is_signed,
                    const char* what) {
  memory->elements(count);
  Values values(count);
  unpack(memory->read(kWeights, address, (count * depth + 7) / 8, what), count, depth, is_signed, values.data());
  return values;
}

Window read_window(Fields* fields, const Map& source, const Map& target) {
  Window w;
  for (auto pair :
       {std::pair(&w.height, &w.width), std::pair(&w.stride_y, &w.stride_x), std::pair(&w.dilation_y, &w.dilation_x),
        std::pair(&w.top, &w.left), std::pair(&w.bottom, &w.right)}) {
    const uint32_t word = fields->next();
    *pair.first = word & 0xFFFF, *pair.second = word >> 16;
  }
  for (uint32_t size : {w.height, w.width, w.stride_y, w.stride_x, w.dilation_y, w.dilation_x})
    if (!size || size > kMostWindow) TW_VBD_BAD("a window with a size, stride or dilation of %u", size);
  if (w.top >= w.reach_y() || w.bottom >= w.reach_y() || w.left >= w.reach_x() || w.right >= w.reach_x())
    TW_VBD_BAD("padding that is as wide as the window");
  if (outputs(source.height, w.top, w.bottom, w.reach_y(), w.stride_y) != target.height ||
      outputs(source.width, w.left, w.right, w.reach_x(), w.stride_x) != target.width)
    TW_VBD_BAD("a window that does not make %u x %u of %u x %u", target.height, target.width, source.height,
               source.width);
  return w;
}

Output::Output(Fields* fields, const Map& target) : zero_(target.zero) {
  const uint32_t rounding = fields->next();
  low_ = fields->next_signed(), high_ = fields->next_signed();
  if (rounding > static_cast<uint32_t>(nna::Rounding::kNatural)) TW_VBD_BAD("unknown rounding %u", rounding);
  rounding_ = static_cast<nna::Rounding>(rounding);
  if (low_ < target.low() || high_ > target.high() || low_ > high_)
    TW_VBD_BAD("results from %d to %d, which %u bits do not hold", low_, high_, target.depth);
}

int32_t Output::operator()(int64_t sum, uint32_t factor, uint32_t shift) const {
  const int64_t value = nna::scale_value(sum, factor, shift, rounding_) + zero_;
  return static_cast<int32_t>(nna::clamp<int64_t>(value, low_, high_));
}

void check_shift(uint32_t shift) {
  if (shift > 63) TW_VBD_BAD("a shift of %u", shift);
}

Scale::Scale(Fields* fields) : factor(fields->next()), shift(fields->next()) { check_shift(shift); }

}  // namespace tw::vbd
