// The outer shell of an artifact: header, segment table, checksums.
#pragma once

#include "format.h"
#include "span.h"

namespace tw {

struct Segments {
  Bytes by_kind[format::kSegmentKinds];  // data is null where the file has no such segment
};

// Throws Error(TW_ARTIFACT).
Segments split(Bytes file, bool checksums);

}  // namespace tw
