// Halves in plain C++ for CUDA kernels on the CPU. Results are rounded to the nearest half, ties to even, once: sums
// and products of halves are exact in double, and fused multiply-adds but for ties that double cannot see.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>

static inline double half_value(uint16_t bits) {
  const int exponent = bits >> 10 & 31, fraction = bits & 1023;
  const double size = exponent == 31 ? (fraction ? NAN : INFINITY)
                      : exponent     ? std::ldexp(1024 + fraction, exponent - 25)
                                     : std::ldexp(fraction, -24);
  return bits >> 15 ? -size : size;
}

static inline uint16_t half_bits(double value) {
  const uint16_t sign = std::signbit(value) ? 0x8000 : 0;
  const double size = std::fabs(value);
  if (std::isnan(value)) return 0x7e00;
  if (size >= 65520) return sign | 0x7c00;  // halfway to what would be next
  const int exponent = size < std::ldexp(1, -14) ? -14 : std::ilogb(size);
  const int steps = int(std::nearbyint(std::ldexp(size, 10 - exponent)));  // 1024 of them up to the next power of two
  return sign | uint16_t((exponent + 14) * 1024 + steps);
}

struct half {
  uint16_t bits;
  half() = default;
  half(double value) : bits(half_bits(value)) {}
  operator float() const { return float(half_value(bits)); }
};
static inline half operator+(half a, half b) { return half_value(a.bits) + half_value(b.bits); }
static inline half operator-(half a, half b) { return half_value(a.bits) - half_value(b.bits); }
static inline half operator*(half a, half b) { return half_value(a.bits) * half_value(b.bits); }
struct __half2 {
  half x, y;
};
typedef __half2 half2;
struct alignas(8) half4 {
  half x, y, z, w;
};
static inline half __float2half_rn(float value) { return value; }
static inline float __half2float(half value) { return value; }
static inline float __low2float(__half2 a) { return a.x; }
static inline float __high2float(__half2 a) { return a.y; }
static inline half half_fma(half a, half b, half c) {
  return std::fma(half_value(a.bits), half_value(b.bits), half_value(c.bits));
}
static inline __half2 __hsub2(__half2 a, __half2 b) { return {a.x - b.x, a.y - b.y}; }
static inline __half2 __hfma2(__half2 a, __half2 b, __half2 c) {
  return {half_fma(a.x, b.x, c.x), half_fma(a.y, b.y, c.y)};
}
