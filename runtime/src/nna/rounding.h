// Integer arithmetic of the output stage; compiler/integer/rounding.py defines the same in NumPy and names the sources.
#pragma once

#include <cstdint>

namespace tw::nna {

enum class Rounding : uint32_t { kDouble, kTruncate, kNatural };  // NPU_SET_OFM_PRECISION, bits 14-15

__extension__ typedef __int128 Wide128;  // 48-bit accumulators times 32-bit scales

// value / 2^shift, halves up.
inline Wide128 round_up_shift(Wide128 value, uint32_t shift) {
  return shift ? (value + (Wide128{1} << (shift - 1))) >> shift : value;
}

// value / 2^shift, halves away from zero.
inline Wide128 round_away_shift(Wide128 value, uint32_t shift) {
  return value < 0 ? -round_up_shift(-value, shift) : round_up_shift(value, shift);
}

// Leaves room for what is added afterwards; far outside every output's range.
inline int64_t narrow(Wide128 value) {
  const Wide128 most = Wide128{1} << 60;
  return static_cast<int64_t>(value < -most ? -most : value > most ? most : value);
}

// value * scale / 2^shift. kDouble rounds halves up at 31 bits, then halves away from zero, as gemmlowp does.
inline int64_t scale_value(int64_t value, uint32_t scale, uint32_t shift, Rounding rounding) {
  const Wide128 product = Wide128{value} * scale;
  if (rounding == Rounding::kTruncate) return narrow(product / (Wide128{1} << shift));
  if (rounding == Rounding::kNatural || shift <= 31) return narrow(round_up_shift(product, shift));
  return narrow(round_away_shift(round_up_shift(product, 31), shift - 31));
}

template <typename T>
T clamp(T value, T low, T high) {
  return value < low ? low : value > high ? high : value;
}

}  // namespace tw::nna
