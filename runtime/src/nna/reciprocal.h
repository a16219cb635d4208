// How means divide.
#pragma once

#include <cstdint>

namespace tw::nna {

struct Reciprocal {
  uint32_t factor, shift;
};

// The factor and shift that divide by a count of elements, rounding halves away from zero: slightly more than 1/count.
// As Vela computes it for windows without padding (scaling.py, quantise_pooling_scale); with padding the device divides
// by the elements that lie inside.
inline Reciprocal reciprocal(uint32_t count) {
  uint32_t bits = 0;
  while ((count - 1) >> bits) ++bits;
  const uint64_t factor = ((uint64_t{1} << (31 + bits)) + (uint64_t{1} << bits)) / count;
  return {static_cast<uint32_t>(factor), 31 + bits};
}

}  // namespace tw::nna
