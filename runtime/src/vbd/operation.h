// What operations share: integers of maps, windows, requantization. compiler/integer/ defines the arithmetic in NumPy.
#pragma once

#include <vector>

#include "../nna/rounding.h"
#include "stream.h"

namespace tw::vbd {

using Values = std::vector<int32_t>;

constexpr uint32_t kWeights = 0;  // the region of weights, biases, scales and tables

bool is_depth(uint32_t bits);

// A map's integers; those of a host saturate at its depth.
Values load(Memory* memory, const Map& map);
// Integers that the map's depth holds.
void store(Memory* memory, const Map& map, const Values& values);
// count integers of the weights' region.
Values load_weights(Memory* memory, uint32_t address, uint64_t count, uint32_t depth, bool is_signed, const char* what);

// A kernel over padded rows and columns.
struct Window {
  uint32_t height, width, stride_y, stride_x, dilation_y, dilation_x, top, left, bottom, right;
  uint32_t reach_y() const { return (height - 1) * dilation_y + 1; }
  uint32_t reach_x() const { return (width - 1) * dilation_x + 1; }
};

// Reads a window, and checks that from the source it makes as many rows and columns as the target has.
Window read_window(Fields* fields, const Map& source, const Map& target);

// From accumulators to integers of a map: Requantize in rounding.py.
class Output {
 public:
  // Reads rounding, least and greatest result.
  Output(Fields* fields, const Map& target);
  int32_t operator()(int64_t sum, uint32_t factor, uint32_t shift) const;

 private:
  nna::Rounding rounding_;
  int32_t zero_, low_, high_;
};

// A factor and a shift of one product.
struct Scale {
  explicit Scale(Fields* fields);
  uint32_t factor, shift;
};

void check_shift(uint32_t shift);

// The operations. Each throws Error(TW_ARTIFACT).
void run_convolution(const Stream& stream, Fields* fields, Memory* memory);
void run_depthwise(const Stream& stream, Fields* fields, Memory* memory);
void run_maximum(const Stream& stream, Fields* fields, Memory* memory);
void run_average(const Stream& stream, Fields* fields, Memory* memory);
void run_add(const Stream& stream, Fields* fields, Memory* memory);
void run_subtract(const Stream& stream, Fields* fields, Memory* memory);
void run_multiply(const Stream& stream, Fields* fields, Memory* memory);
void run_table(const Stream& stream, Fields* fields, Memory* memory);
void run_concat(const Stream& stream, Fields* fields, Memory* memory);
void run_resize(const Stream& stream, Fields* fields, Memory* memory);

}  // namespace tw::vbd
