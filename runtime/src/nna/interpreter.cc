#include "interpreter.h"

#include <cstring>

#include "operation.h"
#include "registers.h"

namespace tw::nna {

namespace {

constexpr uint32_t kPayload = 0x4000, kModeMask = 0xC000, kCodeMask = 0x03FF, kReservedMask = 0x3C00;

void run_dma(const Registers& registers, Memory* memory) {
  const uint64_t nbytes = registers.get(DMA0_LEN);
  memory->work(nbytes);
  const uint8_t* from = memory->dma_source(registers.get(DMA0_SRC_REGION), registers.get(DMA0_SRC), nbytes);
  uint8_t* to = memory->dma_destination(registers.get(DMA0_DST_REGION), registers.get(DMA0_DST), nbytes);
  if (nbytes) memmove(to, from, nbytes);
}

void run_operation(uint32_t code, uint16_t parameter, const Registers& registers, const Accelerator& accelerator,
                   Memory* memory) {
  switch (code) {
    case OP_CONV:
    case OP_DEPTHWISE:
      return run_convolution(registers, read_operation(registers, accelerator, true), code == OP_DEPTHWISE, memory);
    case OP_POOL:
      return run_pooling(read_operation(registers, accelerator, true), parameter, memory);
    case OP_ELEMENTWISE:
      return run_elementwise(registers, read_operation(registers, accelerator, false), parameter, memory);
    case OP_DMA_START:
      return run_dma(registers, memory);
    default:
      return;  // waits and performance counters: operations run one after another here
  }
}

}  // namespace

const char* command_name(uint32_t word, uint32_t* words) {
  const uint32_t mode = word & kModeMask, code = word & kCodeMask;
  *words = mode == kPayload ? 2 : 1;
  if ((mode && mode != kPayload) || word & kReservedMask) return nullptr;
  if (mode == kPayload) return name_of(Wide(code));
  return code >= IFM_PAD_TOP ? name_of(Narrow(code)) : name_of(Operation(code));
}

void run_stream(const Payload& payload, Memory* memory) {
  Registers registers;
  const std::vector<uint32_t>& words = payload.words;
  for (size_t i = 0; i < words.size(); ++i) {
    const size_t at = i;
    const uint32_t word = words[i], code = word & kCodeMask;
    const uint16_t parameter = static_cast<uint16_t>(word >> 16);
    uint32_t length;
    const char* name = command_name(word, &length);
    if (!name) TW_NNA_BAD("word %zu: unknown command 0x%08x", at, word);
    if (length == 2) {
      if (++i == words.size()) TW_NNA_BAD("word %zu: %s without its second word", at, name);
      registers.set(Wide(code), parameter, words[i]);
    } else if (code >= IFM_PAD_TOP) {
      registers.set(Narrow(code), parameter);
    } else if (code == OP_STOP) {
      if (i + 1 != words.size()) TW_NNA_BAD("word %zu: NPU_OP_STOP before the end of %zu words", at, words.size());
      return;
    } else {
      try {
        run_operation(code, parameter, registers, payload.accelerator, memory);
      } catch (Error& error) {
        error.text = "word " + std::to_string(at) + ", " + name + ": " + error.text;
        throw;
      }
    }
  }
  TW_NNA_BAD("the stream ends without NPU_OP_STOP");
}

}  // namespace tw::nna
