// Expands DEFLATE streams (RFC 1951), as which an artifact may hold its tables and its code; see FORMAT.md.
#pragma once

#include "span.h"

namespace tw {

// Writes exactly `nbytes` bytes to `out`, and reads all of `stream`. Damaged or hostile data fails with TW_ARTIFACT;
// then `out` is unspecified. Allocates nothing; work is linear in stream.size + nbytes.
void inflate(Bytes stream, uint8_t* out, size_t nbytes);

}  // namespace tw
