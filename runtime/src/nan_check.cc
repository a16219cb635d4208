#include "nan_check.h"

#include <cstring>

namespace tw {
namespace {

// GCC's and Clang's vector extension: the runtime is built for size, which leaves loops scalar.
template <typename T>
using Vector __attribute__((vector_size(16))) = T;

template <typename T>
bool any_nan(const uint8_t* data, uint64_t nbytes) {
  Vector<T> block = {};
  auto found = block != block;  // no lane yet
  uint64_t at = 0;
  for (; at + sizeof block <= nbytes; at += sizeof block) {
    memcpy(&block, data + at, sizeof block);
    found |= block != block;  // only NaN differs from itself
  }
  memset(&block, 0, sizeof block);
  memcpy(&block, data + at, nbytes - at);
  found |= block != block;
  uint64_t halves[2];
  memcpy(halves, &found, sizeof halves);
  return (halves[0] | halves[1]) != 0;
}

bool any_nan_half(const uint8_t* data, uint64_t nbytes) {
  bool found = false;
  for (uint64_t at = 0; at < nbytes; at += 2) {
    uint16_t bits;
    memcpy(&bits, data + at, sizeof bits);
    found |= (bits & 0x7FFF) > 0x7C00;
  }
  return found;
}

}  // namespace

bool has_nan(tw_dtype dtype, const void* data, uint64_t nbytes) {
  const uint8_t* bytes = static_cast<const uint8_t*>(data);
  if (nbytes == 0) return false;
  if (dtype == TW_FLOAT32) return any_nan<float>(bytes, nbytes);
  if (dtype == TW_FLOAT64) return any_nan<double>(bytes, nbytes);
  return dtype == TW_FLOAT16 && any_nan_half(bytes, nbytes);
}

}  // namespace tw
