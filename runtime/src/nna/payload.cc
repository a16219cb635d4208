#include "payload.h"

#include <cstring>

#include "registers.h"

namespace tw::nna {

namespace {

constexpr uint32_t kMagic = 'C' | 'O' << 8 | 'P' << 16 | '1' << 24;
constexpr uint32_t kTableBytes = 2048;

enum Action : uint32_t { kConfig = 1, kStream = 2, kReadRegister = 3, kDumpShram = 4, kNop = 5 };

// The configuration word: log2 of the MACs (bits 0-3), stream version (4-7), SHRAM in KiB (8-15), product (28-31).
Accelerator read_config(uint32_t word) {
  const uint32_t log_macs = word & 15, version = word >> 4 & 15, shram = word >> 8 & 0xFF, product = word >> 28;
  if (version) TW_NNA_BAD("command stream version %u, not 0", version);
  if (product > 1) TW_NNA_BAD("made for product %u, neither Ethos-U55 (0) nor Ethos-U65 (1)", product);
  if (log_macs < 5 || log_macs > (product ? 9u : 8u)) TW_NNA_BAD("made for 2^%u MACs a cycle", log_macs);
  Accelerator result;
  result.macs = 1u << log_macs;
  result.cores = product && log_macs == 9 ? 2 : 1;
  result.ofm_block = log_macs == 5 ? 4 : 8;
  result.shram_bytes = shram / result.cores * 1024;
  if (result.shram_bytes < 16 * 1024) TW_NNA_BAD("made for %u KiB of SHRAM", shram);
  return result;
}

}  // namespace

// Tables lie in the last two banks of 1 KiB.
uint32_t Accelerator::lut_address() const { return shram_bytes - kTableBytes; }

Payload parse_payload(Bytes bytes) {
  if (bytes.size % 4) TW_NNA_BAD("a payload of %zu bytes, not a multiple of 4", bytes.size);
  std::vector<uint32_t> words(bytes.size / 4);
  if (!words.empty()) memcpy(words.data(), bytes.data, bytes.size);
  if (words.empty() || words[0] != kMagic) TW_NNA_BAD("a payload that does not start with COP1");
  Payload result;
  for (size_t i = 1; i < words.size(); ++i) {
    const uint32_t tag = words[i], action = tag & 0xFF;
    switch (action) {
      case kConfig:
        if (words.size() - i < 3) TW_NNA_BAD("payload word %zu: a truncated configuration", i);
        result.accelerator = read_config(words[i + 1]);
        i += 2;
        break;
      case kStream: {
        const size_t count = (tag >> 8 & 0xFF) << 16 | tag >> 16, left = words.size() - i - 1;
        if (!result.accelerator.macs) TW_NNA_BAD("payload word %zu: a stream before its configuration", i);
        if (!result.words.empty()) TW_NNA_BAD("payload word %zu: a second stream", i);
        if (count > left) TW_NNA_BAD("payload word %zu: a stream of %zu words, %zu are left", i, count, left);
        result.words.assign(words.begin() + long(i) + 1, words.begin() + long(i + 1 + count));
        i += count;
        break;
      }
      case kReadRegister:
      case kDumpShram:
      case kNop:
        break;
      default:
        TW_NNA_BAD("payload word %zu: unknown driver action %u", i, action);
    }
  }
  if (result.words.empty()) TW_NNA_BAD("a payload without a command stream");
  return result;
}

}  // namespace tw::nna
