// The registers that commands set and operations read.
#pragma once

#include <array>

#include "../failure.h"
#include "opcodes.h"

namespace tw::nna {

#define TW_NNA_BAD(...) ::tw::fail(TW_ARTIFACT, __VA_ARGS__)

const char* name_of(Operation code);  // "NPU_OP_..." or null
const char* name_of(Narrow code);
const char* name_of(Wide code);

// Values have their width; reading one that no command has set is an error, as its value on a device is anybody's
// guess.
class Registers {
 public:
  void set(Narrow code, uint16_t value) { narrow_[code & 0xFF] = {value, true}; }
  void set(Wide code, uint16_t parameter, uint32_t payload) {
    wide_[code & 0xFF] = {uint64_t{parameter} << 32 | payload, true};
  }

  uint16_t get(Narrow code) const;
  int16_t get_signed(Narrow code) const { return static_cast<int16_t>(get(code)); }
  uint16_t get_or(Narrow code, uint16_t otherwise) const;
  uint64_t get(Wide code) const;  // address: 48 bits
  uint32_t payload(Wide code) const { return static_cast<uint32_t>(get(code)); }
  uint32_t parameter(Wide code) const { return static_cast<uint32_t>(get(code) >> 32); }

 private:
  struct Value {
    uint64_t value = 0;
    bool set = false;
  };
  std::array<Value, 256> narrow_{}, wide_{};
};

}  // namespace tw::nna
