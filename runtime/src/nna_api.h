// Command streams of NNAs, run by libtilewright_nna, which is opened when an artifact has one.
#pragma once

#include "artifact.h"

namespace tw {

// What a stream's base pointer points at.
struct StreamOperand {
  void* data;
  uint64_t nbytes;
  bool writable;
};

constexpr size_t kStreamOperands = 8;

// Opens the library: $TILEWRIGHT_NNA, the one beside this one, or the system's. Throws Error(TW_DEVICE) without one.
void open_nna();

// Runs a stream (a driver payload) after open_nna. Throws Error(TW_KERNEL).
void run_stream(Bytes payload, const StreamOperand* operands, size_t count);

}  // namespace tw
