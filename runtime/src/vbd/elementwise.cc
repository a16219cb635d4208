// Sums, differences and products of two maps, which broadcast.
#include <algorithm>

#include "operation.h"

namespace tw::vbd {

namespace {

constexpr uint32_t kMostSpare = 24;

struct Operand {
  const Map& map;
  Values values;
  // Without the zero point.
  int64_t at(uint64_t y, uint64_t x, uint64_t c) const {
    y = map.height == 1 ? 0 : y, x = map.width == 1 ? 0 : x, c = map.channels == 1 ? 0 : c;
    return int64_t{values[(y * map.width + x) * map.channels + c]} - map.zero;
  }
};

void check_shapes(const Map& a, const Map& b, const Map& target) {
  if (a.depth > 16 || b.depth > 16) TW_VBD_BAD("an operand of %u bits", std::max(a.depth, b.depth));
  const uint32_t sizes[3][3] = {
      {a.height, b.height, target.height}, {a.width, b.width, target.width}, {a.channels, b.channels, target.channels}};
  for (const auto& size : sizes)
    if (std::max(size[0], size[1]) != size[2] ||
        (std::min(size[0], size[1]) != size[2] && size[0] != 1 && size[1] != 1))
      TW_VBD_BAD("operands of %u and %u rows, columns or channels for %u", size[0], size[1], size[2]);
}

template <typename Body>
void each(const Map& a, const Map& b, const Map& target, Memory* memory, Body body) {
  check_shapes(a, b, target);
  memory->work(target.elements());
  memory->elements(target.elements());
  const Operand first{a, load(memory, a)}, second{b, load(memory, b)};
  Values values(target.elements());
  size_t next = 0;
  for (uint64_t y = 0; y < target.height; ++y)
    for (uint64_t x = 0; x < target.width; ++x)
      for (uint64_t c = 0; c < target.channels; ++c) values[next++] = body(first.at(y, x, c), second.at(y, x, c));
  store(memory, target, values);
}

// Sum in elementwise.py.
void sum(const Stream& stream, Fields* fields, Memory* memory, int64_t sign) {
  const Map &a = stream.map(fields), &b = stream.map(fields), &target = stream.map(fields);
  const uint32_t spare = fields->next();
  if (spare > kMostSpare) TW_VBD_BAD("%u spare bits", spare);
  const Scale first(fields), second(fields), both(fields);
  const Output output(fields, target);
  fields->end();
  const int64_t unit = int64_t{1} << spare;
  each(a, b, target, memory, [&](int64_t x, int64_t y) {
    x = nna::scale_value(x * unit, first.factor, first.shift, nna::Rounding::kDouble);
    y = nna::scale_value(y * unit, second.factor, second.shift, nna::Rounding::kDouble);
    return output(x + sign * y, both.factor, both.shift);
  });
}

}  // namespace

void run_add(const Stream& stream, Fields* fields, Memory* memory) { sum(stream, fields, memory, 1); }

void run_subtract(const Stream& stream, Fields* fields, Memory* memory) { sum(stream, fields, memory, -1); }

void run_multiply(const Stream& stream, Fields* fields, Memory* memory) {
  const Map &a = stream.map(fields), &b = stream.map(fields), &target = stream.map(fields);
  const Scale scale(fields);
  const Output output(fields, target);
  fields->end();
  each(a, b, target, memory, [&](int64_t x, int64_t y) { return output(x * y, scale.factor, scale.shift); });
}

}  // namespace tw::vbd
