#include "selftest.h"

#include <cmath>
#include <cstring>

namespace tw {
namespace {

double from_half(uint16_t bits) {
  int exponent = bits >> 10 & 31, fraction = bits & 1023;
  double size = exponent == 0    ? std::ldexp(fraction, -24)
                : exponent == 31 ? (fraction ? NAN : INFINITY)
                                 : std::ldexp(1024 + fraction, exponent - 25);
  return bits >> 15 ? -size : size;
}

template <typename T>
double value(const uint8_t* bytes) {
  T item;
  memcpy(&item, bytes, sizeof item);
  return static_cast<double>(item);
}

double element(tw_dtype dtype, const uint8_t* bytes) {
  switch (dtype) {
    case TW_BOOL:
      return bytes[0] != 0;
    case TW_INT8:
      return value<int8_t>(bytes);
    case TW_UINT8:
      return value<uint8_t>(bytes);
    case TW_INT16:
      return value<int16_t>(bytes);
    case TW_UINT16:
      return value<uint16_t>(bytes);
    case TW_INT32:
      return value<int32_t>(bytes);
    case TW_UINT32:
      return value<uint32_t>(bytes);
    case TW_INT64:
      return value<int64_t>(bytes);
    case TW_UINT64:
      return value<uint64_t>(bytes);
    case TW_FLOAT32:
      return value<float>(bytes);
    case TW_FLOAT64:
      return value<double>(bytes);
    case TW_FLOAT16:
      break;
  }
  uint16_t bits;
  memcpy(&bits, bytes, sizeof bits);
  return from_half(bits);
}

}  // namespace

double relative_error(tw_dtype dtype, const void* got, Bytes want) {
  const uint64_t step = item_bytes(dtype);
  double difference = 0, norm = 0;
  for (size_t at = 0; at < want.size; at += step) {
    double a = element(dtype, static_cast<const uint8_t*>(got) + at), b = element(dtype, want.data + at);
    if (a == b || (std::isnan(a) && std::isnan(b))) {  // equal infinities too
      norm += std::isfinite(b) ? b * b : 0;
      continue;
    }
    difference += (a - b) * (a - b);
    norm += b * b;
  }
  return difference == 0 ? 0 : std::sqrt(difference / (norm > 0 ? norm : 1));
}

}  // namespace tw
