// The last stage of every operation: offset, activation or table, clamp.
#include <cstring>

#include "operation.h"
#include "sigmoid_table.h"

namespace tw::nna {

namespace {

enum Activation : uint32_t { kNone = 0, kTanh = 3, kSigmoid = 4, kFirstTable = 16 };

// value has a scale of 1 / (3 * 4096); the result has 2^-15. After TFLite's reference_integer_ops/{tanh,logistic}.h,
// which interpolate the same table: tanh(x) = 2 sigmoid(2x) - 1.
int64_t tanh16(int64_t value) {
  const int64_t size = value < 0 ? -value : value, index = size >> 8, fraction = size & 0xFF;
  int64_t result = 0xFFFF << 8;
  if (index < 255)
    result = (int64_t{kSigmoidTable[index]} << 8) + fraction * (kSigmoidTable[index + 1] - kSigmoidTable[index]);
  const int64_t one = 1 << 23, half = 1 << 7;
  return (value < 0 ? one - result + half - 1 : result - one + half) >> 8;
}

int64_t sigmoid16(int64_t value) {
  const int64_t size = value < 0 ? -value : value, index = size >> 9, fraction = size & 0x1FF;
  int64_t result = 0x7FFF << 10;
  if (index < 255)
    result = (int64_t{kSigmoidTable[index]} << 9) + fraction * (kSigmoidTable[index + 1] - kSigmoidTable[index]);
  const int64_t one = 1 << 25, half = 1 << 9;
  return (value < 0 ? one - result + half - 1 : result + half) >> 10;
}

template <typename T>
T entry(const uint8_t* table, uint32_t index) {
  T value;
  memcpy(&value, table + index * sizeof value, sizeof value);
  return value;
}

// Tables of 8-bit values have 256 entries of the output's width. Those of 16-bit values have 512 entries of a base and
// a slope, 16 bits each, between which 7 bits interpolate.
int64_t look_up(const BlockOperation& op, const uint8_t* table, bool wide, int64_t value) {
  if (wide) {
    const uint32_t place = static_cast<uint32_t>(value + 32768), pair = entry<uint32_t>(table, place >> 7);
    const int32_t base = static_cast<int16_t>(pair), slope = static_cast<int16_t>(pair >> 16);
    return base + ((slope * static_cast<int32_t>(place & 127) + 64) >> 7);
  }
  const uint32_t index = static_cast<uint32_t>(value - op.output.range_low);
  if (op.ofm.bytes == 4) return entry<int32_t>(table, index);
  if (op.ofm.bytes == 2)
    return op.ofm.is_signed ? int64_t{entry<int16_t>(table, index)} : entry<uint16_t>(table, index);
  return op.ofm.is_signed ? int64_t{entry<int8_t>(table, index)} : entry<uint8_t>(table, index);
}

}  // namespace

std::vector<int32_t> finish(const BlockOperation& op, const Memory& memory, const std::vector<int64_t>& values) {
  const OutputStage& stage = op.output;
  const uint8_t* table = nullptr;
  bool wide = false;
  if (stage.activation >= kFirstTable) {
    wide = stage.range_low + 255 < stage.range_high;
    if (wide && (op.ofm.bytes != 2 || !op.ofm.is_signed))
      TW_NNA_BAD("a table for an output that has neither 8 nor signed 16 bits");
    table = memory.table(stage.activation - kFirstTable, wide ? 2048 : 256 * op.ofm.bytes);
  }
  const bool curved = stage.activation == kTanh || stage.activation == kSigmoid;
  if (curved && (op.ofm.bytes != 2 || !op.ofm.is_signed))
    TW_NNA_BAD("TANH or SIGMOID with an output that has not 16 bits");
  // Results of 32 bits have no offset, whatever the register says: Vela leaves that of another tensor there, and its
  // results equal LiteRT's without it. Indices into tables do have one.
  const int64_t zero = op.ofm.bytes == 4 && !table ? 0 : op.ofm.zero;
  std::vector<int32_t> out(values.size());
  for (size_t i = 0; i < values.size(); ++i) {
    int64_t value = values[i];
    if (curved) value = stage.activation == kTanh ? tanh16(value) : sigmoid16(value);
    value = clamp(value + zero, stage.low, stage.high);
    if (table) value = look_up(op, table, wide, value);
    out[i] = static_cast<int32_t>(value);
  }
  return out;
}

}  // namespace tw::nna
