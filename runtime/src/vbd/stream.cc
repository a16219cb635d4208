#include "stream.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "operation.h"

namespace tw::vbd {

namespace {

constexpr uint32_t kMagic = 0x31444256;  // "VBD1"
constexpr size_t kHeaderWords = 4, kMapWords = 6;
constexpr uint32_t kMostSize = 1u << 20;  // of a dimension: three of them fit 64 bits
constexpr uint32_t kSigned = 1, kPacked = 2;
constexpr uint32_t kDepths[] = {4, 5, 6, 7, 8, 10, 12, 16};
constexpr uint32_t kSums = 32;  // the depth of maps that hold accumulators

struct Known {
  const char* name;
  void (*run)(const Stream& stream, Fields* fields, Memory* memory);
};

constexpr Known kKnown[] = {
    {nullptr, nullptr},         {"CONVOLUTION", run_convolution}, {"DEPTHWISE", run_depthwise},
    {"MAXIMUM", run_maximum},   {"AVERAGE", run_average},         {"ADD", run_add},
    {"SUBTRACT", run_subtract}, {"MULTIPLY", run_multiply},       {"TABLE", run_table},
    {"CONCAT", run_concat},     {"RESIZE", run_resize},
};

Map read_map(Fields* fields, size_t number) {
  const uint32_t kind = fields->next(), flags = kind >> 16 & 0xFF;
  Map map;
  map.region = kind & 0xFF, map.depth = kind >> 8 & 0xFF;
  map.is_signed = flags & kSigned, map.packed = flags & kPacked;
  map.zero = fields->next_signed();
  map.height = fields->next(), map.width = fields->next(), map.channels = fields->next();
  map.address = fields->next();
  const bool sums = map.depth == kSums && map.is_signed;
  if (kind >> 24 || flags & ~(kSigned | kPacked)) TW_VBD_BAD("map %zu has unknown flags 0x%04x", number, kind >> 16);
  if (!sums && !is_depth(map.depth)) TW_VBD_BAD("map %zu has a depth of %u bits", number, map.depth);
  for (uint32_t size : {map.height, map.width, map.channels})
    if (!size || size > kMostSize) TW_VBD_BAD("map %zu has a dimension of %u", number, size);
  if (map.zero < map.low() || map.zero > map.high())
    TW_VBD_BAD("map %zu has a zero point of %d, which %u bits do not hold", number, map.zero, map.depth);
  return map;
}

}  // namespace

bool is_depth(uint32_t bits) { return std::find(std::begin(kDepths), std::end(kDepths), bits) != std::end(kDepths); }

uint64_t Map::nbytes() const {
  return packed ? (elements() * depth + 7) / 8 : elements() * (depth <= 8 ? 1 : depth <= 16 ? 2 : 4);
}

int64_t Map::reach() const { return std::max(high() - zero, zero - low()); }

uint32_t Fields::next() {
  if (at_ == words_.size) TW_VBD_BAD("fields are missing");
  return words_[at_++];
}

void Fields::end() const {
  if (at_ != words_.size) TW_VBD_BAD("%zu fields too many", words_.size - at_);
}

bool is_stream(Bytes payload) { return payload.size >= sizeof kMagic && !memcmp(payload.data, &kMagic, sizeof kMagic); }

Stream::Stream(Bytes payload) {
  if (!is_stream(payload)) TW_VBD_BAD("no VBD1 stream");
  words_.resize(payload.size / sizeof(uint32_t));
  memcpy(words_.data(), payload.data, words_.size() * sizeof(uint32_t));
  if (words_.size() < kHeaderWords || payload.size % sizeof(uint32_t) || words_[1] != words_.size())
    TW_VBD_BAD("a stream of %zu bytes that its header does not agree with", payload.size);
  const size_t maps = words_[2];
  operations_ = words_[3];
  if (maps > (words_.size() - kHeaderWords) / kMapWords) TW_VBD_BAD("%zu maps in %zu words", maps, words_.size());
  first_ = kHeaderWords + maps * kMapWords;
  for (size_t i = 0; i < maps; ++i) {
    Fields fields({&words_[kHeaderWords + i * kMapWords], kMapWords});
    maps_.push_back(read_map(&fields, i));
  }
}

const Map& Stream::map(Fields* fields) const {
  const uint32_t number = fields->next();
  if (number >= maps_.size()) TW_VBD_BAD("map %u of %zu", number, maps_.size());
  return maps_[number];
}

void Stream::run(Memory* memory) const {
  size_t at = first_;
  for (size_t i = 0; i < operations_; ++i) {
    if (at == words_.size()) TW_VBD_BAD("operation %zu of %zu is missing", i, operations_);
    const uint32_t code = words_[at] & 0xFFFF, length = words_[at] >> 16;
    if (!code || code >= std::size(kKnown)) TW_VBD_BAD("operation %zu: unknown operation code %u", i, code);
    if (!length || length > words_.size() - at)
      TW_VBD_BAD("operation %zu, %s: %u words, of which %zu are there", i, kKnown[code].name, length,
                 words_.size() - at);
    Fields fields({&words_[at] + 1, length - 1});
    try {
      kKnown[code].run(*this, &fields, memory);
    } catch (Error& error) {
      error.text = "operation " + std::to_string(i) + ", " + kKnown[code].name + ": " + error.text;
      throw;
    }
    at += length;
  }
  if (at != words_.size()) TW_VBD_BAD("%zu words after the last operation", words_.size() - at);
}

}  // namespace tw::vbd
