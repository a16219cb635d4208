// Integer arithmetic that cannot wrap: sizes and offsets from a file go through these.
#pragma once

#include <cstdint>

#include "failure.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "artifacts are little-endian tables used in place"
#endif
static_assert(sizeof(void*) == 8, "64-bit hosts only");

namespace tw {

inline uint64_t add(uint64_t a, uint64_t b) {
  uint64_t sum;
  if (__builtin_add_overflow(a, b, &sum)) TW_BAD("a size overflows");
  return sum;
}

inline uint64_t mul(uint64_t a, uint64_t b) {
  uint64_t product;
  if (__builtin_mul_overflow(a, b, &product)) TW_BAD("a size overflows");
  return product;
}

// Alignment is a power of two.
inline uint64_t align(uint64_t value, uint64_t alignment) { return add(value, alignment - 1) & ~(alignment - 1); }

inline bool fits(uint64_t offset, uint64_t nbytes, uint64_t size) { return offset <= size && nbytes <= size - offset; }

}  // namespace tw
