// Integers of 4 to 32 bits without padding: one little-endian bit stream. compiler/formats/bits.py says the same.
#pragma once

#include <cstdint>

namespace tw::vbd {

// The first count integers of depth bits (at most 32) in data, which holds them all; signed ones in two's complement.
void unpack(const uint8_t* data, uint64_t count, uint32_t depth, bool is_signed, int32_t* values);

// The reverse; unused bits of the last byte become zero.
void pack(const int32_t* values, uint64_t count, uint32_t depth, uint8_t* data);

}  // namespace tw::vbd
