#include "feature_map.h"

#include <algorithm>
#include <cstring>

namespace tw::nna {

namespace {

constexpr uint32_t kBrick = 16;
constexpr int64_t kMostAddress = int64_t{1} << 40;

struct Codes {
  const char* name;
  Narrow precision, region, zero, height0, height1, width0;
  Wide base0, base1, base2, base3, stride_y, stride_x, stride_c;
};

constexpr Codes kIfm = {"the input",    IFM_PRECISION, IFM_REGION,   IFM_ZERO_POINT, IFM_HEIGHT0_M1,
                        IFM_HEIGHT1_M1, IFM_WIDTH0_M1, IFM_BASE0,    IFM_BASE1,      IFM_BASE2,
                        IFM_BASE3,      IFM_STRIDE_Y,  IFM_STRIDE_X, IFM_STRIDE_C};
constexpr Codes kIfm2 = {"input 2",       IFM2_PRECISION, IFM2_REGION,   IFM2_ZERO_POINT, IFM2_HEIGHT0_M1,
                         IFM2_HEIGHT1_M1, IFM2_WIDTH0_M1, IFM2_BASE0,    IFM2_BASE1,      IFM2_BASE2,
                         IFM2_BASE3,      IFM2_STRIDE_Y,  IFM2_STRIDE_X, IFM2_STRIDE_C};
constexpr Codes kOfm = {"the output",   OFM_PRECISION, OFM_REGION,   OFM_ZERO_POINT, OFM_HEIGHT0_M1,
                        OFM_HEIGHT1_M1, OFM_WIDTH0_M1, OFM_BASE0,    OFM_BASE1,      OFM_BASE2,
                        OFM_BASE3,      OFM_STRIDE_Y,  OFM_STRIDE_X, OFM_STRIDE_C};

// Addresses and strides have 48 bits and a sign: Vela mirrors with negative strides. Beyond 40 bits lies no memory.
int64_t address(const Registers& registers, Wide code) {
  const int64_t value = static_cast<int64_t>(registers.get(code) << 16) >> 16;
  if (value < -kMostAddress || value > kMostAddress) TW_NNA_BAD("%s has more than 40 bits", name_of(code));
  return value;
}

// bits: the precision field's place, 2 for inputs and 1 for outputs.
FeatureMap read(const Registers& registers, const Codes& codes, uint32_t bits, bool addresses) {
  FeatureMap map;
  map.name = codes.name;
  const uint32_t precision = registers.get(codes.precision), width = precision >> bits & 3;
  if (width > 2)
    TW_NNA_BAD("%s: %s is 0x%04x, an unknown element width", map.name, name_of(codes.precision), precision);
  map.is_signed = precision & 1;
  map.bytes = 1u << width;
  map.bricks = precision >> 6 & 1;
  if (width == 2 && !map.is_signed) TW_NNA_BAD("%s has unsigned 32-bit elements", map.name);
  map.zero = map.is_signed ? registers.get_signed(codes.zero) : registers.get(codes.zero);
  if (map.bytes == 1 && bits == 2 && (map.zero < map.lowest() || map.zero > map.highest()))
    TW_NNA_BAD("%s has a zero point of %d, which 8 bits do not hold", map.name, map.zero);
  if (!addresses) return map;
  map.region = registers.get(codes.region);
  map.height0 = registers.get(codes.height0) + 1u;
  map.height1 = registers.get(codes.height1) + 1u;
  map.width0 = registers.get(codes.width0) + 1u;
  map.base[0] = address(registers, codes.base0);
  map.base[1] = address(registers, codes.base1);
  map.base[2] = address(registers, codes.base2);
  map.base[3] = address(registers, codes.base3);
  map.stride_y = address(registers, codes.stride_y);
  map.stride_x = map.bricks ? int64_t{kBrick} * map.bytes : address(registers, codes.stride_x);
  map.stride_c = address(registers, codes.stride_c);
  return map;
}

// Calls body(first channel, channels, address) for each run of channels that lie together. Addresses have 40 bits and
// dimensions 16, so that no sum wraps.
template <typename Body>
void runs(const FeatureMap& map, uint32_t depth, uint32_t y, uint32_t x, Body body) {
  const bool right = x >= map.width0;
  const uint32_t split = right ? map.height1 : map.height0;
  const bool below = y >= split;
  const int64_t row = y - below * split, column = x - right * map.width0;
  const int64_t origin = map.base[below * 2 + right] + row * map.stride_y + column * map.stride_x;
  if (!map.bricks) return body(0, depth, origin);
  for (uint32_t c = 0; c < depth; c += kBrick)
    body(c, std::min(kBrick, depth - c), origin + int64_t{c / kBrick} * map.stride_c);
}

template <typename Element, typename T>
void load_run(const uint8_t* from, uint32_t count, int32_t zero, T* to) {
  for (uint32_t i = 0; i < count; ++i) {
    Element element;
    memcpy(&element, from + i * sizeof element, sizeof element);
    to[i] = static_cast<T>(static_cast<T>(element) - static_cast<T>(zero));
  }
}

}  // namespace

FeatureMap read_ifm(const Registers& registers) { return read(registers, kIfm, 2, true); }

FeatureMap read_ifm2(const Registers& registers) {
  return read(registers, kIfm2, 2, !(registers.get(IFM2_BROADCAST) & 0x80));
}

FeatureMap read_ofm(const Registers& registers) { return read(registers, kOfm, 1, true); }

template <typename T>
std::vector<T> load(Memory* memory, const FeatureMap& map, const Shape& shape) {
  memory->elements(shape.size());
  std::vector<T> values(shape.size());
  for (uint32_t y = 0; y < shape.height; ++y)
    for (uint32_t x = 0; x < shape.width; ++x) {
      T* to = &values[(size_t{y} * shape.width + x) * shape.depth];
      runs(map, shape.depth, y, x, [&](uint32_t c, uint32_t count, int64_t place) {
        const uint8_t* from =
            memory->read(map.region, static_cast<uint64_t>(place), uint64_t{count} * map.bytes, map.name);
        if (map.bytes == 1 && map.is_signed) return load_run<int8_t>(from, count, map.zero, to + c);
        if (map.bytes == 1) return load_run<uint8_t>(from, count, map.zero, to + c);
        if (map.bytes == 2 && map.is_signed) return load_run<int16_t>(from, count, map.zero, to + c);
        if (map.bytes == 2) return load_run<uint16_t>(from, count, map.zero, to + c);
        load_run<int32_t>(from, count, map.zero, to + c);
      });
    }
  return values;
}

template std::vector<int16_t> load(Memory*, const FeatureMap&, const Shape&);
template std::vector<int64_t> load(Memory*, const FeatureMap&, const Shape&);

void store(Memory* memory, const FeatureMap& map, const Shape& shape, const std::vector<int32_t>& values) {
  memory->elements(shape.size());
  for (uint32_t y = 0; y < shape.height; ++y)
    for (uint32_t x = 0; x < shape.width; ++x) {
      const int32_t* from = &values[(size_t{y} * shape.width + x) * shape.depth];
      runs(map, shape.depth, y, x, [&](uint32_t c, uint32_t count, int64_t place) {
        uint8_t* to = memory->write(map.region, static_cast<uint64_t>(place), uint64_t{count} * map.bytes, map.name);
        for (uint32_t i = 0; i < count; ++i) memcpy(to + i * map.bytes, from + c + i, map.bytes);  // little-endian
      });
    }
}

}  // namespace tw::nna
