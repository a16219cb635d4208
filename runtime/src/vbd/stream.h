// An nna-vbd stream: feature maps and operations. NNA.md describes the format.
#pragma once

#include <vector>

#include "../failure.h"
#include "../nna/memory.h"
#include "../span.h"

namespace tw::vbd {

using nna::Memory;

#define TW_VBD_BAD(...) ::tw::fail(TW_ARTIFACT, __VA_ARGS__)

// A feature map: integers of a depth, (height, width, channels).
struct Map {
  uint32_t region = 0, depth = 0, address = 0;
  bool is_signed = false;
  bool packed = false;  // without padding; else each integer has 1, 2 or 4 bytes: what hosts read and write
  int32_t zero = 0;
  uint32_t height = 0, width = 0, channels = 0;

  uint64_t elements() const { return uint64_t{height} * width * channels; }
  uint64_t nbytes() const;
  int64_t low() const { return is_signed ? -(int64_t{1} << (depth - 1)) : 0; }
  int64_t high() const { return low() + (int64_t{1} << depth) - 1; }
  int64_t reach() const;  // the greatest distance of an integer from the zero point
};

// The words of one operation, read in order.
class Fields {
 public:
  explicit Fields(Span<uint32_t> words) : words_(words) {}
  uint32_t next();
  int32_t next_signed() { return static_cast<int32_t>(next()); }
  void end() const;  // throws where words are left

 private:
  Span<uint32_t> words_;
  size_t at_ = 0;
};

class Stream {
 public:
  // Reads the header and the maps. Throws Error(TW_ARTIFACT).
  explicit Stream(Bytes payload);

  // Runs the operations. Throws Error(TW_ARTIFACT).
  void run(Memory* memory) const;

  // The map that the next word names.
  const Map& map(Fields* fields) const;

 private:
  std::vector<uint32_t> words_;
  std::vector<Map> maps_;
  size_t first_ = 0, operations_ = 0;  // word of the first operation, and how many there are
};

// Whether a payload is of this format, by its first word.
bool is_stream(Bytes payload);

}  // namespace tw::vbd
