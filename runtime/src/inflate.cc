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

// Bits of a stream, the lowest of each byte first. It holds up to eight bytes; beyond the end there are zeros to peek
// at.
class BitReader {
 public:
  explicit BitReader(Bytes data) : at_(data.begin()), end_(data.end()) {}

  uint64_t peek() {
    for (; held_ <= 56 && at_ != end_; held_ += 8) buffer_ |= uint64_t{*at_++} << held_;
    return buffer_;
  }

  void skip(unsigned count) {
    if (count > held_) bad();
    buffer_ >>= count;
    held_ -= count;
  }

  unsigned bits(unsigned count) {
    const auto value = static_cast<unsigned>(peek() & ((uint64_t{1} << count) - 1));
    skip(count);
    return value;
  }

  // What follows the byte that was begun.
  const uint8_t* bytes(size_t count) {
    release();
    if (count > static_cast<size_t>(end_ - at_)) bad();
    const uint8_t* taken = at_;
    at_ += count;
    return taken;
  }

  // Drops the rest of the byte that was begun, and gives those back that were not.
  void release() {
    at_ -= held_ / 8;
    buffer_ = held_ = 0;
  }

  bool at_end() {
    release();
    return at_ == end_;
  }

 private:
  const uint8_t *at_, *end_;
  uint64_t buffer_ = 0;
  unsigned held_ = 0;
};

// A canonical Huffman code: symbols in the order of their codes, and how many have codes of each length. Codes of one
// length are consecutive numbers and follow those of the length before (section 3.2.2); their highest bit comes first.
class Code {
 public:
  void assign(const uint8_t* lengths, unsigned count) {
    std::fill(std::begin(counts_), std::end(counts_), uint16_t{0});
    for (unsigned i = 0; i < count; ++i) ++counts_[lengths[i]];
    counts_[0] = 0;
    uint16_t next[kLongest + 2] = {};
    int room = 1;
    for (unsigned length = 1; length <= kLongest; ++length) {
      room = 2 * room - counts_[length];
      if (room < 0) bad();
      next[length + 1] = static_cast<uint16_t>(next[length] + counts_[length]);
    }
    for (unsigned i = 0; i < count; ++i)
      if (lengths[i]) symbols_[next[lengths[i]]++] = static_cast<uint16_t>(i);
    find_short();
  }

  unsigned read(BitReader* in) const {
    const uint64_t ahead = in->peek();
    if (const unsigned found = short_[ahead & (kShorts - 1)]) {
      in->skip(found & 15);
      return found >> 4;
    }
    unsigned code = 0, first = 0, index = 0;
    for (unsigned length = 1; length <= kLongest; ++length) {
      code |= ahead >> (length - 1) & 1;
      if (code - first < counts_[length]) {
        in->skip(length);
        return symbols_[index + code - first];
      }
      index += counts_[length];
      first = (first + counts_[length]) << 1;
      code <<= 1;
    }
    bad();
  }

 private:
  static constexpr unsigned kShort = 9, kShorts = 1u << kShort;  // bits; most codes have no more

  // Whatever follows a short code, the code's bits choose its entry.
  void find_short() {
    std::fill(std::begin(short_), std::end(short_), uint16_t{0});
    const uint16_t* symbol = symbols_;
    unsigned first = 0;
    for (unsigned length = 1; length <= kShort; ++length, first <<= 1)
      for (const unsigned end = first + counts_[length]; first < end; ++first, ++symbol) {
        unsigned mirrored = 0;
        for (unsigned bit = 0; bit < length; ++bit) mirrored |= (first >> bit & 1) << (length - 1 - bit);
        for (; mirrored < kShorts; mirrored += 1u << length)
          short_[mirrored] = static_cast<uint16_t>(*symbol << 4 | length);
      }
  }

  uint16_t counts_[kLongest + 1] = {};
  uint16_t symbols_[kLiterals];
  uint16_t
      short_[kShorts];  // by the next bits: a symbol and, in the lower four bits, the length of its code; 0: longer
};

class Inflater {
 public:
  Inflater(Bytes stream, uint8_t* out, size_t nbytes) : in_(stream), out_(out), nbytes_(nbytes) {}

  void run() {
    for (bool last = false; !last;) {
      last = in_.bits(1);
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
    in_.release();
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
