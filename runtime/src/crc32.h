// CRC-32 as in zlib (polynomial 0xEDB88320, reflected, initial and final complement).
#pragma once

#include <cstddef>
#include <cstdint>

namespace tw {

uint32_t crc32(const void* data, size_t nbytes, uint32_t crc = 0);

}  // namespace tw
