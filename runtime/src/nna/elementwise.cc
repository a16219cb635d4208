// Elementwise operations, with one or two inputs.
#include <algorithm>

#include "operation.h"

namespace tw::nna {

namespace {

constexpr uint32_t kBroadcastHeight = 1, kBroadcastWidth = 2, kBroadcastDepth = 4, kReverse = 0x40, kScalar = 0x80;

// NPU_SET_IFM_PRECISION, bits 8-9: how ADD and SUB bring operands to one scale.
enum ScaleMode : uint32_t { kBoth16, kFirst32, kSecond32 };

struct Operand {
  std::vector<int64_t> values;
  Shape shape;
  int64_t at(uint32_t y, uint32_t x, uint32_t c) const {
    y = shape.height == 1 ? 0 : y, x = shape.width == 1 ? 0 : x, c = shape.depth == 1 ? 0 : c;
    return values[(size_t{y} * shape.width + x) * shape.depth + c];
  }
};

Operand read_second(const Registers& registers, const BlockOperation& op, uint32_t broadcast, Memory* memory) {
  const FeatureMap map = read_ifm2(registers);
  Operand operand{{}, op.ofm_shape};
  if (broadcast & kScalar) {
    operand.shape = {1, 1, 1};
    const int64_t raw = map.is_signed ? int64_t{registers.get_signed(IFM2_SCALAR)} : registers.get(IFM2_SCALAR);
    operand.values = {raw - map.zero};
    return operand;
  }
  if (broadcast & kBroadcastHeight) operand.shape.height = 1;
  if (broadcast & kBroadcastWidth) operand.shape.width = 1;
  if (broadcast & kBroadcastDepth) operand.shape.depth = 1;
  operand.values = load<int64_t>(memory, map, operand.shape);
  return operand;
}

// Brings the operands of ADD and SUB to one scale. With kBoth16 each has a factor of its own. Otherwise one is scaled
// with 31 bits of precision and the other shifted left by what that scale was normalised to: 2^20 for inputs of 8 bits,
// 2^15 for 16, halved so that sums do not overflow (TFLite's ADD does the same).
class OperandScaling {
 public:
  OperandScaling() = default;  // none
  OperandScaling(const Registers& registers, const BlockOperation& op) {
    const uint32_t mode = registers.get(IFM_PRECISION) >> 8 & 3;
    if (mode > kSecond32) TW_NNA_BAD("NPU_SET_IFM_PRECISION has operand scaling %u", mode);
    mode_ = static_cast<ScaleMode>(mode);
    first_ = {registers.payload(OPA_SCALE), registers.parameter(OPA_SCALE) & 63};
    second_ = mode == kBoth16 ? registers.payload(OPB_SCALE) : 0;
    input_shift_ = op.ifm.bytes == 1 ? 20 : 15;
  }

  void apply(int64_t* a, int64_t* b) const {
    if (mode_ == kBoth16) {
      *a *= first_.factor & 0xFFFF;
      *b *= second_ & 0xFFFF;
      return;
    }
    int64_t* scaled = mode_ == kFirst32 ? a : b;
    int64_t* shifted = mode_ == kFirst32 ? b : a;
    *scaled = scale_value(*scaled * (int64_t{1} << input_shift_), first_.factor, first_.shift + input_shift_,
                          Rounding::kDouble);
    *shifted *= int64_t{1} << (input_shift_ - 1);
  }

 private:
  ScaleMode mode_ = kBoth16;
  Scale first_;
  uint32_t second_ = 1, input_shift_ = 0;
};

int64_t leading_zeros(int64_t value) {
  const uint32_t bits = static_cast<uint32_t>(value);
  return bits ? __builtin_clz(bits) : 32;
}

int64_t shift_right(int64_t value, int64_t count, Rounding rounding) {
  return scale_value(value, 1, static_cast<uint32_t>(clamp<int64_t>(count, 0, 63)), rounding);
}

// A product of 32-bit operands is not multiplied by the output's factor: its shift alone scales it.
int64_t scale_product(const BlockOperation& op, int64_t product) {
  const Scale& scale = op.output.scale;
  return scale_value(product, op.ifm.bytes == 4 ? 1 : scale.factor, scale.shift, op.output.rounding);
}

void binary(const Registers& registers, const BlockOperation& op, uint32_t mode, Memory* memory,
            std::vector<int64_t>* values) {
  const uint32_t broadcast = registers.get(IFM2_BROADCAST);
  const Operand first{load<int64_t>(memory, op.ifm, op.ofm_shape), op.ofm_shape};
  const Operand second = read_second(registers, op, broadcast, memory);
  const bool adds = mode == kAdd || mode == kSub;
  const OperandScaling scaling = adds ? OperandScaling(registers, op) : OperandScaling();
  size_t next = 0;
  for (uint32_t y = 0; y < op.ofm_shape.height; ++y)
    for (uint32_t x = 0; x < op.ofm_shape.width; ++x)
      for (uint32_t c = 0; c < op.ofm_shape.depth; ++c) {
        int64_t a = first.at(y, x, c), b = second.at(y, x, c), value = 0;
        if (broadcast & kReverse) std::swap(a, b);
        scaling.apply(&a, &b);
        switch (mode) {
          case kMul:
            value = scale_product(op, a * b);
            break;
          case kAdd:
            value = a + b;
            break;
          case kSub:
            value = a - b;
            break;
          case kMin:
            value = std::min(a, b);
            break;
          case kMax:
            value = std::max(a, b);
            break;
          case kShiftRight:
            value = shift_right(a, b, op.output.rounding);
            break;
          default:
            value = a * (int64_t{1} << clamp<int64_t>(b, 0, 31));
        }
        if (adds) value = scale_value(value, op.output.scale.factor, op.output.scale.shift, op.output.rounding);
        (*values)[next++] = value;
      }
}

void unary(const BlockOperation& op, uint32_t mode, Memory* memory, std::vector<int64_t>* values) {
  const Scale& scale = op.output.scale;
  const std::vector<int64_t> inputs = load<int64_t>(memory, op.ifm, op.ofm_shape);
  for (size_t i = 0; i < inputs.size(); ++i) {
    const int64_t value = inputs[i], size = value < 0 ? -value : value;
    if (mode == kClz)
      (*values)[i] = leading_zeros(value);
    else if (mode == kAbs)
      (*values)[i] = scale_value(size, scale.factor, scale.shift, op.output.rounding);
    else  // LEAKY_RELU: the scale is that of negative values
      (*values)[i] = value < 0 ? scale_value(value, scale.factor, scale.shift, op.output.rounding) : value;
  }
}

}  // namespace

void run_elementwise(const Registers& registers, const BlockOperation& op, uint32_t mode, Memory* memory) {
  if (mode > kShiftLeft) TW_NNA_BAD("unknown elementwise mode %u", mode);
  const bool wide_only = mode == kClz || mode == kShiftRight || mode == kShiftLeft;
  if (wide_only && op.ifm.bytes != 4) TW_NNA_BAD("elementwise mode %u needs 32-bit inputs", mode);
  memory->work(op.ofm_shape.size());
  std::vector<int64_t> values(op.ofm_shape.size());
  if (mode == kLeakyRelu || mode == kAbs || mode == kClz)
    unary(op, mode, memory, &values);
  else
    binary(registers, op, mode, memory, &values);
  store(memory, op.ofm, op.ofm_shape, finish(op, *memory, values));
}

}  // namespace tw::nna
