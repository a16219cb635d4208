// A view of a run of objects; C++17 has no std::span.
#pragma once

#include <cstddef>
#include <cstdint>

namespace tw {

template <typename T>
struct Span {
  const T* data = nullptr;
  size_t size = 0;
  const T& operator[](size_t i) const { return data[i]; }
  const T* begin() const { return data; }
  const T* end() const { return data + size; }
};

using Bytes = Span<uint8_t>;

}  // namespace tw
