#include "inflate.h"

#include <algorithm>
#include <cstring>

#include "failure.h"

namespace tw {
namespace {

// One message for all of it: checksums tell ordinary damage before.
[[noreturn]] void bad() { TW_BAD("a compressed segment does not expand to what it says"); }

constexpr unsigned kLongest = 15;  // bits of a code
constexpr unsigned kLiterals = 288, kDistances = 30, kLengthCodes = 19;

// RFC 1951, section 3.2.5: lengths of symbols 257 to 285, distances of symbols 0 to 29, and how many bits are added.
constexpr uint16_t kLengthBase[] = {3,  4,  5,  6,  7,  8,  9,  10, 11,  13,  15,  17,  19,  23, 27,
                                    31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258};
constexpr uint8_t kLengthBits[] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2,
                                   2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0};
constexpr uint16_t kDistanceBase[] = {1,    2,    3,    4,    5,    7,    9,    13,    17,    25,
                                      33,   49,   65,   97,   129,  193,  257,  385,   513,   769,
                                      1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577};
constexpr uint8_t kDistanceBits[] = {0, 0, 0, 0, 1, 1, 2, 2,  3,  3,  4,  4,  5,  5,  6,
                                     6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13};

class BitReader {
 public:
  explicit BitReader(Bytes data) : at_(data.begin()), end_(data.end()) {}

  unsigned bit() { return bits(1); }

  // At most 16, the first one lowest.
  unsigned bits(unsigned count) {
    while (held_ < count) {
      if (at_ == end_) bad();
      buffer_ |= uint32_t{*at_++} << held_;
      held_ += 8;
    }
    const unsigned value = buffer_ & ((1u << count) - 1);
    buffer_ >>= count;
    held_ -= count;
    return value;
  }

  // What follows the byte that was begun, of which less than eight bits are held.
  const uint8_t* bytes(size_t count) {
    if (count > static_cast<size_t>(end_ - at_)) bad();
    const uint8_t* taken = at_;
    at_ += count;
    return taken;
  }

  void drop_partial_byte() { buffer_ = held_ = 0; }
  bool at_end() const { return at_ == end_; }

 private:
  const uint8_t *at_, *end_;
  uint32_t buffer_ = 0;
  unsigned held_ = 0;
};

// A canonical Huffman code: symbols in the order of their codes, and how many have codes of each length.
struct Code {
  uint16_t counts[kLongest + 1] = {};
  uint16_t symbols[kLiterals];

  void assign(const uint8_t* lengths, unsigned count) {
    std::fill(std::begin(counts), std::end(counts), uint16_t{0});
    for (unsigned i = 0; i < count; ++i) ++counts[lengths[i]];
    counts[0] = 0;
    uint16_t next[kLongest + 2] = {};
    int room = 1;
    for (unsigned length = 1; length <= kLongest; ++length) {
      room = 2 * room - counts[length];
      if (room < 0) bad();
      next[length + 1] = static_cast<uint16_t>(next[length] + counts[length]);
    }
    for (unsigned i = 0; i < count; ++i)
      if (lengths[i]) symbols[next[lengths[i]]++] = static_cast<uint16_t>(i);
  }

  // Codes of one length are consecutive numbers and follow those of the length before (section 3.2.2).
  unsigned read(BitReader* in) const {
    unsigned code = 0, first = 0, index = 0;
    for (unsigned length = 1; length <= kLongest; ++length) {
      code |= in->bit();
      if (code - first < counts[length]) return symbols[index + code - first];
      index += counts[length];
      first = (first + counts[length]) << 1;
      code <<= 1;
    }
    bad();
  }
};

class Inflater {
 public:
  Inflater(Bytes stream, uint8_t* out, size_t nbytes) : in_(stream), out_(out), nbytes_(nbytes) {}

  void run() {
    for (bool last = false; !last;) {
      last = in_.bit();
      switch (in_.bits(2)) {
        case 0:
          stored();
          break;
        case 1:
          fixed_codes();
          symbols();
          break;
        case 2:
          dynamic_codes();
          symbols();
          break;
        default:
          bad();
      }
    }
    if (done_ != nbytes_ || !in_.at_end()) bad();
  }

 private:
  void stored() {
    in_.drop_partial_byte();
    const unsigned length = in_.bits(16), check = in_.bits(16);
    if ((length ^ check) != 0xFFFF) bad();
    const uint8_t* from = in_.bytes(length);
    if (length > nbytes_ - done_) bad();
    if (length) memcpy(out_ + done_, from, length);
    done_ += length;
  }

  void fixed_codes() {
    uint8_t lengths[kLiterals];
    for (unsigned i = 0; i < kLiterals; ++i) lengths[i] = i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8;
    literals_.assign(lengths, kLiterals);
    std::fill_n(lengths, kDistances, uint8_t{5});
    distances_.assign(lengths, kDistances);
  }

  void dynamic_codes() {
    static constexpr uint8_t kOrder[kLengthCodes] = {16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15};
    const unsigned literals = in_.bits(5) + 257, distances = in_.bits(5) + 1, codes = in_.bits(4) + 4;
    if (literals > 286 || distances > kDistances) bad();
    uint8_t lengths[286 + kDistances] = {};
    for (unsigned i = 0; i < codes; ++i) lengths[kOrder[i]] = static_cast<uint8_t>(in_.bits(3));
    literals_.assign(lengths, kLengthCodes);  // the code of the codes' lengths
    for (unsigned i = 0; i < literals + distances;) {
      const unsigned symbol = literals_.read(&in_);
      if (symbol < 16) {
        lengths[i++] = static_cast<uint8_t>(symbol);
        continue;
      }
      if (symbol == 16 && i == 0) bad();
      const uint8_t value = symbol == 16 ? lengths[i - 1] : uint8_t{0};
      const unsigned times = symbol == 16 ? 3 + in_.bits(2) : symbol == 17 ? 3 + in_.bits(3) : 11 + in_.bits(7);
      if (times > literals + distances - i) bad();
      std::fill_n(lengths + i, times, value);
      i += times;
    }
    literals_.assign(lengths, literals);
    distances_.assign(lengths + literals, distances);
  }

  void symbols() {
    for (;;) {
      unsigned symbol = literals_.read(&in_);
      if (symbol < 256) {
        if (done_ == nbytes_) bad();
        out_[done_++] = static_cast<uint8_t>(symbol);
        continue;
      }
      if (symbol == 256) return;
      symbol -= 257;
      if (symbol >= sizeof kLengthBits) bad();
      const size_t length = kLengthBase[symbol] + in_.bits(kLengthBits[symbol]);
      const unsigned place = distances_.read(&in_);
      const size_t distance = kDistanceBase[place] + in_.bits(kDistanceBits[place]);
      if (distance > done_) bad();
      if (length > nbytes_ - done_) bad();
      for (size_t i = 0; i < length; ++i, ++done_) out_[done_] = out_[done_ - distance];  // they may overlap
    }
  }

  BitReader in_;
  uint8_t* out_;
  const size_t nbytes_;
  size_t done_ = 0;
  Code literals_, distances_;
};

}  // namespace

void inflate(Bytes stream, uint8_t* out, size_t nbytes) { Inflater(stream, out, nbytes).run(); }

}  // namespace tw
