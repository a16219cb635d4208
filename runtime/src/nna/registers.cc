#include "registers.h"

namespace tw::nna {

#define TW_NNA_CASE(name, code) \
  case code:                    \
    return "NPU_" #name;
#define TW_NNA_SET_CASE(name, code) \
  case code:                        \
    return "NPU_SET_" #name;

const char* name_of(Operation code) {
  switch (static_cast<uint32_t>(code)) { TW_NNA_OPERATIONS(TW_NNA_CASE) }
  return nullptr;
}

const char* name_of(Narrow code) {
  switch (static_cast<uint32_t>(code)) { TW_NNA_NARROW(TW_NNA_SET_CASE) }
  return nullptr;
}

const char* name_of(Wide code) {
  switch (static_cast<uint32_t>(code)) { TW_NNA_WIDE(TW_NNA_SET_CASE) }
  return nullptr;
}

uint16_t Registers::get(Narrow code) const {
  const Value& entry = narrow_[code & 0xFF];
  if (!entry.set) TW_NNA_BAD("%s is missing before it", name_of(code));
  return static_cast<uint16_t>(entry.value);
}

uint16_t Registers::get_or(Narrow code, uint16_t otherwise) const {
  const Value& entry = narrow_[code & 0xFF];
  return entry.set ? static_cast<uint16_t>(entry.value) : otherwise;
}

uint64_t Registers::get(Wide code) const {
  const Value& entry = wide_[code & 0xFF];
  if (!entry.set) TW_NNA_BAD("%s is missing before it", name_of(code));
  return entry.value;
}

}  // namespace tw::nna
