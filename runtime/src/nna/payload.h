// The driver payload: what an Ethos-U driver is handed. Driver actions around one command stream.
#pragma once

#include <cstdint>
#include <vector>

#include "../span.h"

namespace tw::nna {

// The accelerator that a stream was made for.
struct Accelerator {
  uint32_t macs = 0;         // a cycle, all cores together
  uint32_t cores = 0;        // 1 or 2
  uint32_t shram_bytes = 0;  // of one core
  uint32_t ofm_block = 0;    // channels of an output micro-block: weights are ordered by it
  uint32_t lut_address() const;
};

struct Payload {
  Accelerator accelerator;
  std::vector<uint32_t> words;
};

// Throws Error(TW_ARTIFACT).
Payload parse_payload(Bytes bytes);

}  // namespace tw::nna
