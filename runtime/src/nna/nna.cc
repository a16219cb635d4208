#include "nna.h"

#include <cstring>
#include <new>
#include <stdexcept>

#include "../failure.h"
#include "../vbd/stream.h"
#include "interpreter.h"
#include "weight_codec.h"

namespace {

constexpr uint64_t kDefaultLimit = uint64_t{1} << 44;

int report(const char* text, char* error, size_t error_size) {
  if (error && error_size) {
    strncpy(error, text, error_size - 1);
    error[error_size - 1] = 0;
  }
  return 1;
}

template <typename Body>
int guarded(char* error, size_t error_size, Body body) {
  try {
    body();
    return 0;
  } catch (const tw::Error& caught) {
    return report(("command stream: " + caught.text).c_str(), error, error_size);
  } catch (const std::bad_alloc&) {
    return report("command stream: out of memory", error, error_size);
  } catch (const std::exception& caught) {
    return report(caught.what(), error, error_size);
  }
}

}  // namespace

int tw_nna_run(const void* payload, size_t nbytes, const tw_nna_region* regions, size_t region_count, uint64_t limit,
               char* error, size_t error_size) {
  return guarded(error, error_size, [&] {
    if (!payload || (region_count && !regions)) tw::fail(TW_USAGE, "a NULL argument");
    if (region_count > tw::nna::kRegions) tw::fail(TW_USAGE, "%zu regions, at most 8", region_count);
    std::array<tw::nna::Region, tw::nna::kRegions> places{};
    for (size_t i = 0; i < region_count; ++i)
      places[i] = {static_cast<uint8_t*>(regions[i].data), regions[i].data ? regions[i].nbytes : 0,
                   regions[i].writable != 0};
    const tw::Bytes bytes{static_cast<const uint8_t*>(payload), nbytes};
    const uint64_t most = limit ? limit : kDefaultLimit;
    if (tw::vbd::is_stream(bytes)) {
      tw::nna::Memory memory(places, {}, most);
      return tw::vbd::Stream(bytes).run(&memory);
    }
    const tw::nna::Payload parsed = tw::nna::parse_payload(bytes);
    tw::nna::Memory memory(places, parsed.accelerator, most);
    tw::nna::run_stream(parsed, &memory);
  });
}

int tw_nna_decode_weights(const void* stream, size_t nbytes, int16_t* weights, size_t count, char* error,
                          size_t error_size) {
  return guarded(error, error_size, [&] {
    if (!stream || (count && !weights)) tw::fail(TW_USAGE, "a NULL argument");
    const std::vector<int16_t> decoded = tw::nna::decode_weights({static_cast<const uint8_t*>(stream), nbytes}, count);
    if (count) memcpy(weights, decoded.data(), count * sizeof *weights);
  });
}

const char* tw_nna_name(uint32_t word, uint32_t* words) { return tw::nna::command_name(word, words); }
