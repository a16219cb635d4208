#include "memory.h"

#include <cinttypes>

#include "../checked.h"
#include "registers.h"

namespace tw::nna {

namespace {

constexpr uint64_t kMostElements = uint64_t{1} << 27;

}  // namespace

Memory::Memory(const std::array<Region, kRegions>& regions, const Accelerator& accelerator, uint64_t limit)
    : regions_(regions),
      shram_(accelerator.shram_bytes),
      lut_address_(accelerator.lut_address()),
      limit_(limit),
      left_(limit) {}

uint8_t* Memory::find(uint32_t region, uint64_t address, uint64_t nbytes, const char* what) const {
  if (region >= kRegions) TW_NNA_BAD("%s lies in region %u of 8", what, region);
  const Region& place = regions_[region];
  if (!fits(address, nbytes, place.nbytes))
    TW_NNA_BAD("%s needs %" PRIu64 " bytes at %" PRId64 " of region %u, which has %" PRIu64 " bytes", what, nbytes,
               static_cast<int64_t>(address), region, place.nbytes);
  return place.data + address;
}

const uint8_t* Memory::read(uint32_t region, uint64_t address, uint64_t nbytes, const char* what) const {
  return find(region, address, nbytes, what);
}

uint8_t* Memory::write(uint32_t region, uint64_t address, uint64_t nbytes, const char* what) {
  uint8_t* place = find(region, address, nbytes, what);
  if (!regions_[region].writable) TW_NNA_BAD("%s is to be written to region %u, which is read-only", what, region);
  return place;
}

uint8_t* Memory::find_dma(uint32_t selector, uint64_t address, uint64_t nbytes, bool writing, const char* what) {
  if (selector >> 9 & 3) TW_NNA_BAD("%s: strided DMA is not supported", what);
  if (selector & 1 << 8) {
    if (!fits(address, nbytes, shram_.size()))
      TW_NNA_BAD("%s needs %" PRIu64 " bytes at %" PRIu64 " of SHRAM, which has %zu bytes", what, nbytes, address,
                 shram_.size());
    return shram_.data() + address;
  }
  return writing ? write(selector & 7, address, nbytes, what) : find(selector & 7, address, nbytes, what);
}

const uint8_t* Memory::dma_source(uint32_t selector, uint64_t address, uint64_t nbytes) {
  return find_dma(selector, address, nbytes, false, "the DMA's source");
}

uint8_t* Memory::dma_destination(uint32_t selector, uint64_t address, uint64_t nbytes) {
  return find_dma(selector, address, nbytes, true, "the DMA's destination");
}

const uint8_t* Memory::table(uint32_t slot, uint32_t nbytes) const {
  const uint64_t address = lut_address_ + uint64_t{slot} * 256;
  if (!fits(address, nbytes, shram_.size())) TW_NNA_BAD("a table of %u bytes does not fit slot %u", nbytes, slot);
  return shram_.data() + address;
}

void Memory::work(uint64_t amount) {
  if (amount > left_) TW_NNA_BAD("the stream asks for more work than the limit of %" PRIu64, limit_);
  left_ -= amount;
}

void Memory::elements(uint64_t count) {
  if (count > kMostElements) TW_NNA_BAD("a tensor of %" PRIu64 " elements, at most %" PRIu64, count, kMostElements);
  work(count);
}

}  // namespace tw::nna
