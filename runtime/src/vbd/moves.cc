// Functions by table, and operations that only move integers: concatenation and resizing.
#include <algorithm>

#include "operation.h"

namespace tw::vbd {

namespace {

constexpr uint32_t kSegmentBits = 9, kKnots = (1u << kSegmentBits) + 1, kDirectBits = 8;
constexpr uint32_t kMostFactor = 64;

void check_same(const Map& source, const Map& target) {
  if (source.depth != target.depth || source.is_signed != target.is_signed)
    TW_VBD_BAD("integers of %u bits from %u", target.depth, source.depth);
}

}  // namespace

void run_table(const Stream& stream, Fields* fields, Memory* memory) {
  const Map &source = stream.map(fields), &target = stream.map(fields);
  const uint32_t address = fields->next();
  fields->end();
  if (source.elements() != target.elements()) TW_VBD_BAD("maps of different sizes");
  if (source.depth > 16 || target.depth > 16) TW_VBD_BAD("integers of more than 16 bits");
  const bool direct = source.depth <= kDirectBits;
  const Values table = load_weights(memory, address, direct ? uint64_t{1} << source.depth : kKnots, target.depth,
                                    target.is_signed, "a table");
  memory->work(source.elements());
  Values values = load(memory, source);
  const uint32_t fraction = direct ? 0 : source.depth - kSegmentBits;
  for (int32_t& value : values) {
    const uint32_t place = static_cast<uint32_t>(value - source.low());
    value = table[place >> fraction];
    if (direct) continue;
    const int64_t step = table[(place >> fraction) + 1] - value, rest = place & ((1u << fraction) - 1);
    value += static_cast<int32_t>((step * rest + (int64_t{1} << (fraction - 1))) >> fraction);
  }
  store(memory, target, values);
}

void run_concat(const Stream& stream, Fields* fields, Memory* memory) {
  const Map& target = stream.map(fields);
  const uint32_t count = fields->next();
  memory->work(target.elements());
  memory->elements(target.elements());
  Values values(target.elements());
  uint64_t first = 0;
  for (uint32_t i = 0; i < count; ++i) {
    const Map& source = stream.map(fields);
    check_same(source, target);
    if (source.height != target.height || source.width != target.width || source.channels > target.channels - first)
      TW_VBD_BAD("part %u does not fit", i);
    const Values part = load(memory, source);
    for (uint64_t place = 0; place < uint64_t{target.height} * target.width; ++place)
      std::copy_n(&part[place * source.channels], source.channels, &values[place * target.channels + first]);
    first += source.channels;
  }
  fields->end();
  if (first != target.channels) TW_VBD_BAD("%u channels of parts that have fewer", target.channels);
  store(memory, target, values);
}

void run_resize(const Stream& stream, Fields* fields, Memory* memory) {
  const Map &source = stream.map(fields), &target = stream.map(fields);
  const uint32_t down = fields->next(), right = fields->next();
  fields->end();
  check_same(source, target);
  if (!down || !right || down > kMostFactor || right > kMostFactor) TW_VBD_BAD("factors of %u and %u", down, right);
  if (uint64_t{source.height} * down != target.height || uint64_t{source.width} * right != target.width ||
      source.channels != target.channels)
    TW_VBD_BAD("factors of %u and %u do not make the target", down, right);
  memory->work(target.elements());
  memory->elements(target.elements());
  const Values from = load(memory, source);
  Values to(target.elements());
  for (uint64_t y = 0; y < target.height; ++y)
    for (uint64_t x = 0; x < target.width; ++x)
      std::copy_n(&from[(y / down * source.width + x / right) * source.channels], source.channels,
                  &to[(y * target.width + x) * source.channels]);
  store(memory, target, to);
}

}  // namespace tw::vbd
