// Bits to weights. The format, as Arm's published decoder (mlw_decode.c of Vela) reads it:
//
// A stream is a sequence of slices, each a header and then chunks that interleave the codes of non-zero weights with
// those of the runs of zeros between them. Codes are Golomb-Rice: quotients in unary, remainders one chunk later, so
// that hardware can decode twelve at once. A weight's code is an index into a palette of up to 32 values, or beyond
// the palette the weight itself plus an offset; bit 0 of a value is its sign.
#include "weight_codec.h"

#include "registers.h"

namespace tw::nna {

namespace {

constexpr uint32_t kNoZeroRuns = 6, kEndOfStream = 7;  // values of a slice's zero divisor
constexpr uint32_t kUncompressed = 7;                  // of its weight divisor
constexpr uint32_t kMostSymbols = 12;                  // in a chunk
constexpr uint32_t kWeightLimit = 512;                 // codes have 9 bits

class Bits {
 public:
  explicit Bits(Bytes bytes) : bytes_(bytes) {}
  uint32_t take(uint32_t count) {
    if (count > bytes_.size * 8 - position_) TW_NNA_BAD("weights are truncated after %zu bytes", bytes_.size);
    uint32_t value = 0;
    for (uint32_t i = 0; i < count; ++i, ++position_)
      value |= static_cast<uint32_t>(bytes_[position_ / 8] >> position_ % 8 & 1) << i;
    return value;
  }
  void align() { position_ = (position_ + 7) / 8 * 8; }
  bool at_end() const { return position_ / 8 == bytes_.size; }

 private:
  Bytes bytes_;
  size_t position_ = 0;
};

struct Palette {
  uint32_t size = 0, bits = 0, offset = 0;
  uint32_t values[32] = {};
};

struct Slice {
  uint32_t weights = 0, zero_divisor = 0, weight_divisor = 0;
  bool truncated = false, new_palette = false, uncompressed = false;
  bool zero_runs() const { return zero_divisor != kNoZeroRuns; }
  uint32_t runs() const { return weights + new_palette; }  // a new palette may come after a run of zeros
};

// Quotients read from one chunk, whose remainders follow in the next.
struct Quotients {
  uint32_t count = 0, value[kMostSymbols] = {};
  uint32_t carry = 0;  // of a unary code that goes on in the next chunk
  void begin() { count = 0; }
  void end_code() {
    value[count++] = carry;
    carry = 0;
  }
};

void read_palette(Bits* bits, Palette* palette) {
  palette->offset = bits->take(5);
  palette->size = bits->take(5);
  if (palette->size) ++palette->size;
  palette->bits = bits->take(3) + 2;
  for (uint32_t i = 0; i < palette->size; ++i) palette->values[i] = bits->take(palette->bits);
}

Slice read_header(Bits* bits, uint32_t zero_divisor, Palette* palette, const Slice* before) {
  Slice slice;
  slice.zero_divisor = zero_divisor;
  if (zero_divisor > 3 && zero_divisor != kNoZeroRuns) TW_NNA_BAD("weights have a zero divisor of %u", zero_divisor);
  slice.weights = bits->take(15) + 1;
  slice.weight_divisor = bits->take(3);
  slice.truncated = bits->take(1);
  slice.new_palette = bits->take(1);
  if (slice.new_palette) read_palette(bits, palette);
  if (!slice.new_palette && !before) TW_NNA_BAD("weights start without a palette");
  if (!slice.new_palette && before->zero_runs() != slice.zero_runs())
    TW_NNA_BAD("weights switch zero runs without a new palette");
  slice.uncompressed = slice.weight_divisor == kUncompressed;
  if (slice.uncompressed) {
    // Remainders alone, as wide as an index into the palette, or as the palette's bits where it is empty.
    slice.weight_divisor = palette->bits;
    if (palette->size) {
      slice.weight_divisor = 0;
      while (1u << slice.weight_divisor < palette->size) ++slice.weight_divisor;
    }
  } else if (slice.weight_divisor > 5) {
    TW_NNA_BAD("weights have a divisor of %u", slice.weight_divisor);
  }
  return slice;
}

// Two unary numbers give each weight's quotient: whether it is above 0, and if so, whether above 1.
void read_weight_quotients(Bits* bits, const Slice& slice, uint32_t above_zero, Quotients* out) {
  const uint32_t symbols = slice.uncompressed && slice.weight_divisor > 5 ? 8 : kMostSymbols;
  uint32_t length = 0;
  for (uint32_t i = 0; i < symbols; ++i) length += above_zero >> i & 1;
  uint32_t above_one = bits->take(length);
  for (uint32_t i = 0; i < symbols; ++i) {
    uint32_t code = 0;
    if (above_zero >> i & 1) {
      code = 1 + (above_one & 1);
      above_one >>= 1;
    }
    out->carry += code;
    if (code < 2 || slice.truncated) out->end_code();
  }
}

// Reads the chunks of a slice.
void read_slice(Bits* bits, const Slice& slice, std::vector<uint32_t>* weights, std::vector<uint32_t>* runs) {
  const uint32_t weight_count = slice.weights, run_count = slice.zero_runs() ? slice.runs() : 0;
  const uint32_t run_symbols = slice.zero_divisor < 3 ? kMostSymbols : 8;
  weights->clear();
  runs->clear();
  Quotients weight, run, last_weight, last_run;
  // What has been announced by quotients, to keep both kinds of code in step.
  uint32_t weights_begun = 0, runs_begun = 0;
  do {
    const bool behind = weights_begun < runs_begun, ahead = weights_begun >= runs_begun + 8;
    const bool read_weights = weights_begun < weight_count && !(slice.zero_runs() && ahead);
    const bool read_runs = slice.zero_runs() && runs_begun < run_count && !behind;
    const uint32_t above_zero = read_weights && !slice.uncompressed ? bits->take(kMostSymbols) : 0;
    weight.begin();
    run.begin();
    if (read_runs) {
      const uint32_t unary = bits->take(run_symbols);
      for (uint32_t i = 0; i < run_symbols; ++i) {
        if (unary >> i & 1)
          ++run.carry;
        else
          run.end_code();
      }
      runs_begun += run.count;
    }
    if (read_weights) {
      read_weight_quotients(bits, slice, above_zero, &weight);
      weights_begun += weight.count;
    }
    for (uint32_t i = 0; i < last_weight.count && weights->size() < weight_count; ++i)
      weights->push_back((last_weight.value[i] << slice.weight_divisor) + bits->take(slice.weight_divisor));
    for (uint32_t i = 0; i < last_run.count && runs->size() < run_count; ++i)
      runs->push_back((last_run.value[i] << slice.zero_divisor) + bits->take(slice.zero_divisor));
    last_weight = weight;
    last_run = run;
    if (!read_weights) last_weight.count = 0;
    if (!read_runs) last_run.count = 0;
    if (!read_weights && !read_runs) break;
  } while (true);
}

int16_t weight_of(uint32_t code, const Palette& palette) {
  if (code >= kWeightLimit) TW_NNA_BAD("a weight's code is %u, and codes have 9 bits", code);
  const uint32_t value = code < palette.size ? palette.values[code] : code - palette.size + palette.offset;
  const int magnitude = static_cast<int>(value >> 1);
  return static_cast<int16_t>(value & 1 ? -magnitude : magnitude);
}

}  // namespace

std::vector<int16_t> decode_weights(Bytes stream, size_t count) {
  std::vector<int16_t> out;
  std::vector<uint32_t> weights, runs;
  const auto append_zeros = [&](uint32_t zeros) {
    if (zeros > count - out.size()) TW_NNA_BAD("a weight stream has more than the layer's %zu weights", count);
    out.insert(out.end(), zeros, 0);
  };
  Bits bits(stream);
  Palette palette;
  Slice slice;
  bool first = true;
  while (!bits.at_end()) {
    const uint32_t zero_divisor = bits.take(3);
    if (zero_divisor == kEndOfStream) {
      bits.align();
      first = true;
      continue;
    }
    slice = read_header(&bits, zero_divisor, &palette, first ? nullptr : &slice);
    first = false;
    read_slice(&bits, slice, &weights, &runs);
    size_t run = 0;
    if (slice.zero_runs() && slice.new_palette) append_zeros(runs.at(run++));
    for (uint32_t code : weights) {
      if (out.size() == count) TW_NNA_BAD("a weight stream has more than the layer's %zu weights", count);
      out.push_back(weight_of(code, palette));
      if (slice.zero_runs()) append_zeros(runs.at(run++));
    }
  }
  if (out.size() != count) TW_NNA_BAD("a weight stream has %zu weights, the layer %zu", out.size(), count);
  return out;
}

}  // namespace tw::nna
