// Runs a command stream.
#pragma once

#include "memory.h"

namespace tw::nna {

// Runs to NPU_OP_STOP. Throws Error(TW_ARTIFACT), whose text names the word and the operation.
void run_stream(const Payload& payload, Memory* memory);

// A command's name by its first word, or null; words is set to its length.
const char* command_name(uint32_t word, uint32_t* words);

}  // namespace tw::nna
