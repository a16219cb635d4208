// Fuzzes the models of NNAs: any payload and any memory give either a run to the end or an error with a text, within
// bounds. For libFuzzer, or for mutate.cc where that is missing.
//
// An input is: u32 bytes of the payload, the payload, then region 0, read-only (weights and tables). Regions 1 to 4
// have 64 KiB each.
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "nna/nna.h"

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size) __attribute__((weak));

namespace {

constexpr size_t kScratch = 64 << 10;
constexpr uint64_t kLimit = 1 << 18;

void need(bool holds) {
  if (!holds) abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  uint32_t payload_bytes = 0;
  if (size < sizeof payload_bytes) return 0;
  memcpy(&payload_bytes, data, sizeof payload_bytes);
  data += sizeof payload_bytes, size -= sizeof payload_bytes;
  if (payload_bytes > size) payload_bytes = static_cast<uint32_t>(size);
  // Blocks of exactly their size, so that AddressSanitizer sees an access past the end.
  const size_t weight_bytes = size - payload_bytes;
  std::unique_ptr<uint8_t[]> weights(new uint8_t[weight_bytes]), scratch(new uint8_t[kScratch]()),
      fast(new uint8_t[kScratch]()), inputs(new uint8_t[kScratch]()), outputs(new uint8_t[kScratch]());
  if (weight_bytes) memcpy(weights.get(), data + payload_bytes, weight_bytes);
  const std::vector<uint8_t> before(weights.get(), weights.get() + weight_bytes);
  const tw_nna_region regions[5] = {{weights.get(), weight_bytes, 0, 0},
                                    {scratch.get(), kScratch, 1, 0},
                                    {fast.get(), kScratch, 1, 0},
                                    {inputs.get(), kScratch, 1, 0},
                                    {outputs.get(), kScratch, 1, 0}};
  char error[256] = "";
  if (tw_nna_run(data, payload_bytes, regions, 5, kLimit, error, sizeof error))
    need(strlen(error) > 20);
  else
    need(!error[0]);
  need(weight_bytes == 0 || memcmp(before.data(), weights.get(), weight_bytes) == 0);
  return 0;
}

// Streams are words: mostly change one, to a value near the old one or at an edge, so that most commands stay valid.
extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size, unsigned seed) {
  if (seed % 4 == 0 || size < 16) return LLVMFuzzerMutate(data, size, max_size);
  const size_t at = seed / 4 % (size / 2) * 2;
  uint16_t value;
  memcpy(&value, data + at, sizeof value);
  switch (seed / 64 % 6) {
    case 0:
      value = static_cast<uint16_t>(value + 1);
      break;
    case 1:
      value = static_cast<uint16_t>(value - 1);
      break;
    case 2:
      value = static_cast<uint16_t>(value ^ 1u << seed / 512 % 16);
      break;
    case 3:
      value = 0xFFFF;
      break;
    case 4:
      value = 0x8000;
      break;
    default:
      value = static_cast<uint16_t>(seed / 512 % 64);
  }
  memcpy(data + at, &value, sizeof value);
  return size;
}
