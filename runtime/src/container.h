// The outer shell of an artifact: header, segment table, checksums.
#pragma once

#include <array>
#include <vector>

#include "format.h"
#include "span.h"

namespace tw {

using Expanded = std::array<std::vector<uint8_t>, format::kConstants>;  // by kind

struct Segments {
  Bytes by_kind[format::kSegmentKinds];  // data is null where the file has no such segment
  Expanded expanded;                     // what the file holds compressed; by_kind points in here
};

// Throws Error(TW_ARTIFACT). Work and memory are linear in file.size.
Segments split(Bytes file, bool checksums);

}  // namespace tw
