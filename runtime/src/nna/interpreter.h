// Runs a command stream.
#pragma once

#include "memory.h"

namespace tw::nna {

// Runs to NPU_OP_STOP. Throws Error(TW_ARTIFACT), whose text names the word and the operation.
void run_stream(const Payload& payload, Memory* memory);

}  // namespace tw::nna
