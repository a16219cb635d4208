// UTF-8 validation: names from a file end up in JSON and in other people's terminals.
#pragma once

#include <cstddef>
#include <cstdint>

namespace tw {

inline bool is_utf8(const uint8_t* text, size_t nbytes) {
  for (size_t i = 0; i < nbytes;) {
    uint8_t lead = text[i++];
    if (lead < 0x80) continue;
    int more = lead >= 0xF0 ? 3 : lead >= 0xE0 ? 2 : 1;
    if (lead < 0xC2 || lead > 0xF4 || nbytes - i < static_cast<size_t>(more)) return false;
    uint32_t code = lead & (0x3F >> more);
    for (int k = 0; k < more; ++k, ++i) {
      if ((text[i] & 0xC0) != 0x80) return false;
      code = code << 6 | (text[i] & 0x3F);
    }
    static constexpr uint32_t least[] = {0, 0x80, 0x800, 0x10000};
    if (code < least[more] || code > 0x10FFFF || (code >= 0xD800 && code < 0xE000)) return false;
  }
  return true;
}

}  // namespace tw
