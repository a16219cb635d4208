// Expands entropy-coded weights; compiler/formats/storage/entropy.py defines the bytes and encodes them.
#pragma once

#include <cstddef>
#include <cstdint>

#include "span.h"

namespace tw {

// Writes exactly `nbytes` bytes to `out`. Damaged or hostile data fails with TW_ARTIFACT; then `out` is
// unspecified. Allocates a table of 16 KiB and less than data.size, whatever the data says.
void rans_expand(Bytes data, uint8_t* out, size_t nbytes);

}  // namespace tw
