// Aligned memory that is given back on destruction.
#pragma once

#include <cstdint>

namespace tw {

class Memory {
 public:
  static constexpr uint64_t kAlignment = 256;

  Memory() = default;
  explicit Memory(uint64_t nbytes);  // not initialised; throws Error(TW_MEMORY)
  ~Memory();
  Memory(Memory&& other) noexcept;
  Memory& operator=(Memory&& other) noexcept;

  uint8_t* data() const { return data_; }

 private:
  uint8_t* data_ = nullptr;
};

}  // namespace tw
