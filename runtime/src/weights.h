// Constants: who needs them, and the bytes of those that are stored coded.
#pragma once

#include <vector>

#include "artifact.h"

namespace tw {

// Whether a run needs a constant, or the prologue alone, or nobody: by buffer, false for all other kinds.
struct Needs {
  std::vector<bool> run, load;
  explicit Needs(const Artifact& artifact);
};

// Writes the nbytes bytes of a constant to out. Throws Error(TW_ARTIFACT), which names it, for damaged bytes.
void read_constant(const Buffer& constant, uint8_t* out);

}  // namespace tw
