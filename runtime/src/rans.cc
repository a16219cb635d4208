#include "rans.h"

#include <cstring>
#include <vector>

#include "checked.h"
#include "failure.h"

namespace tw {
namespace {

#define RANS_BAD(what) TW_BAD("entropy-coded weights: " what)

constexpr uint8_t kStored = 0, kRans = 1, kPlanes = 2;
constexpr unsigned kPrecision = 14;
constexpr uint32_t kTotal = 1u << kPrecision;
constexpr uint32_t kLow = 1u << 16;  // states lie in [2^16, 2^32)

// Reads from the front and never beyond the end.
class Reader {
 public:
  explicit Reader(Bytes data) : at_(data.data), left_(data.size) {}

  size_t left() const { return left_; }

  const uint8_t* take(size_t nbytes) {
    if (nbytes > left_) RANS_BAD("cut short");
    const uint8_t* taken = at_;
    at_ += nbytes;
    left_ -= nbytes;
    return taken;
  }

  template <typename T>
  T read() {
    T value;
    memcpy(&value, take(sizeof value), sizeof value);
    return value;
  }

 private:
  const uint8_t* at_;
  size_t left_;
};

// Every `stride`-th byte of an array: one plane of it, or all of it.
struct Plane {
  uint8_t* out;
  size_t nbytes;
  size_t stride;
};

// The symbol of each slot (the low bits of a state), and what a symbol does to the state.
struct Table {
  std::vector<uint8_t> symbols;
  struct {
    uint16_t frequency, start;
  } ranges[256];
};

Table read_table(Reader& in, unsigned symbols) {
  Table table;
  table.symbols.reserve(kTotal);
  for (uint32_t symbol = 0; symbol < symbols; ++symbol) {
    uint32_t frequency = in.read<uint8_t>();
    if (frequency & 0x80) frequency = (frequency & 0x7f) | uint32_t{in.read<uint8_t>()} << 7;
    const size_t start = table.symbols.size();
    if (frequency > kTotal - start) RANS_BAD("frequencies add up to more than 16384");
    table.ranges[symbol] = {static_cast<uint16_t>(frequency), static_cast<uint16_t>(start)};
    table.symbols.insert(table.symbols.end(), frequency, static_cast<uint8_t>(symbol));
  }
  if (table.symbols.size() != kTotal) RANS_BAD("frequencies add up to less than 16384");
  return table;
}

// Joins symbols of some bits to bytes, lowest bits first.
class Packer {
 public:
  Packer(Plane plane, unsigned bits) : plane_(plane), bits_(bits) {}

  void push(uint32_t symbol) {
    pending_ |= symbol << filled_;
    filled_ += bits_;
    if (filled_ < 8) return;
    if (written_ < plane_.nbytes) plane_.out[written_ * plane_.stride] = static_cast<uint8_t>(pending_);
    ++written_;
    pending_ >>= 8;
    filled_ -= 8;
  }

  void finish() {
    // The last symbol may reach less than one byte beyond the end.
    if (written_ != plane_.nbytes || pending_) RANS_BAD("bits beyond the end");
  }

 private:
  Plane plane_;
  unsigned bits_;
  size_t written_ = 0;
  uint32_t pending_ = 0;
  unsigned filled_ = 0;
};

void expand_rans(Reader in, Plane plane) {
  const unsigned bits = in.read<uint8_t>();
  const size_t lanes = in.read<uint16_t>();
  if (bits < 1 || bits > 8) RANS_BAD("symbols of a width other than 1 to 8");
  const uint64_t count = add(mul(plane.nbytes, 8), bits - 1) / bits;
  if (lanes < 1 || lanes > count) RANS_BAD("number of lanes out of range");
  const Table table = read_table(in, 1u << bits);
  const uint8_t* stored = in.take(lanes * sizeof(uint32_t));
  std::vector<uint32_t> states(lanes);
  memcpy(states.data(), stored, lanes * sizeof(uint32_t));
  for (uint32_t state : states)
    if (state < kLow) RANS_BAD("state out of range");

  Packer packer(plane, bits);
  const size_t size = in.left();
  if (size % sizeof(uint16_t)) RANS_BAD("cut short");
  const uint8_t* words = in.take(size);
  const uint8_t* const end = words + size;
  for (uint64_t first = 0; first < count; first += lanes) {
    const size_t active = count - first < lanes ? count - first : lanes;
    for (size_t lane = 0; lane < active; ++lane) {
      uint32_t x = states[lane];
      const uint32_t slot = x & (kTotal - 1);
      const uint8_t symbol = table.symbols[slot];
      const auto range = table.ranges[symbol];
      x = range.frequency * (x >> kPrecision) + slot - range.start;
      if (x < kLow) {
        if (words == end) RANS_BAD("cut short");
        uint16_t word;
        memcpy(&word, words, sizeof word);
        words += sizeof word;
        x = x << 16 | word;
      }
      states[lane] = x;
      packer.push(symbol);
    }
  }
  packer.finish();
  if (words != end) RANS_BAD("words are left over");
  for (uint32_t state : states)
    if (state != kLow) RANS_BAD("the stream does not end where it should");
}

void expand_section(Bytes data, Plane plane) {
  Reader in(data);
  const uint8_t kind = in.read<uint8_t>();
  if (kind == kRans) return expand_rans(in, plane);
  if (kind != kStored) RANS_BAD("unknown kind of section");
  if (in.left() != plane.nbytes) RANS_BAD("stored bytes of another length");
  const uint8_t* bytes = in.take(plane.nbytes);
  if (plane.stride == 1 && plane.nbytes) memcpy(plane.out, bytes, plane.nbytes);
  if (plane.stride != 1)
    for (size_t i = 0; i < plane.nbytes; ++i) plane.out[i * plane.stride] = bytes[i];
}

}  // namespace

void rans_expand(Bytes data, uint8_t* out, size_t nbytes) {
  if (!data.size || data[0] != kPlanes) return expand_section(data, {out, nbytes, 1});
  Reader in(data);
  in.read<uint8_t>();
  const size_t stride = in.read<uint8_t>();
  if ((stride != 2 && stride != 4) || nbytes % stride) RANS_BAD("planes that do not divide the array");
  for (size_t plane = 0; plane < stride; ++plane) {
    const size_t length = in.read<uint32_t>();
    const uint8_t* section = in.take(length);
    expand_section({section, length}, {nbytes ? out + plane : out, nbytes / stride, stride});
  }
  if (in.left()) RANS_BAD("bytes are left over");
}

}  // namespace tw
