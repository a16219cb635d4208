// What a stream can address: eight regions and the accelerator's own SHRAM. Every access is checked.
#pragma once

#include <array>
#include <vector>

#include "../span.h"
#include "payload.h"

namespace tw::nna {

struct Region {
  uint8_t* data = nullptr;
  uint64_t nbytes = 0;
  bool writable = false;
};

constexpr uint32_t kRegions = 8;

class Memory {
 public:
  // limit: see tw_nna_run.
  Memory(const std::array<Region, kRegions>& regions, const Accelerator& accelerator, uint64_t limit);

  const uint8_t* read(uint32_t region, uint64_t address, uint64_t nbytes, const char* what) const;
  uint8_t* write(uint32_t region, uint64_t address, uint64_t nbytes, const char* what);

  // A DMA's end: a region, or with bit 8 set SHRAM.
  const uint8_t* dma_source(uint32_t selector, uint64_t address, uint64_t nbytes);
  uint8_t* dma_destination(uint32_t selector, uint64_t address, uint64_t nbytes);

  // nbytes of the table in a slot of 256 bytes.
  const uint8_t* table(uint32_t slot, uint32_t nbytes) const;

  // Counts work against the limit, before it is done.
  void work(uint64_t amount);
  // The same for a tensor's elements, before memory is taken for them.
  void elements(uint64_t count);

 private:
  uint8_t* find(uint32_t region, uint64_t address, uint64_t nbytes, const char* what) const;
  uint8_t* find_dma(uint32_t selector, uint64_t address, uint64_t nbytes, bool writing, const char* what);

  std::array<Region, kRegions> regions_;
  std::vector<uint8_t> shram_;
  uint32_t lut_address_;
  uint64_t limit_, left_;
};

}  // namespace tw::nna
