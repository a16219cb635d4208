#include "memory.h"

#include <stdlib.h>

#include <utility>

#include "failure.h"

namespace tw {

Memory::Memory(uint64_t nbytes) {
  void* data = nullptr;
  if (posix_memalign(&data, kAlignment, nbytes ? nbytes : 1))
    fail(TW_MEMORY, "out of memory: %llu bytes", static_cast<unsigned long long>(nbytes));
  data_ = static_cast<uint8_t*>(data);
}

Memory::~Memory() { free(data_); }

Memory::Memory(Memory&& other) noexcept : data_(std::exchange(other.data_, nullptr)) {}

Memory& Memory::operator=(Memory&& other) noexcept {
  std::swap(data_, other.data_);
  return *this;
}

}  // namespace tw
