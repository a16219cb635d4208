#include "nna_api.h"

#include <stdlib.h>

#include <string>

#include "dynamic_library.h"
#include "failure.h"
#include "nna/nna.h"

namespace tw {
namespace {

constexpr const char* kSystem = "libtilewright_nna.so";

// The path of this library with "_native" or "libtilewright" in its file name replaced; kSystem where that does not
// apply.
std::string beside() {
  Dl_info info;
  if (!dladdr(reinterpret_cast<void*>(&open_nna), &info) || !info.dli_fname) return kSystem;
  std::string path = info.dli_fname;
  const size_t name = path.rfind('/') + 1;
  for (const char* stem : {"_native", "libtilewright"}) {
    const std::string wanted = stem;
    if (path.compare(name, wanted.size(), wanted)) continue;
    return path.replace(name, wanted.size(), wanted == "_native" ? "_nna" : "libtilewright_nna");
  }
  return kSystem;
}

decltype(&tw_nna_run) find_run() {
  const char* given = getenv("TILEWRIGHT_NNA");
  const std::string sibling = beside();
  void* library = given ? open_driver({given}) : open_driver({sibling.c_str(), kSystem});
  decltype(&tw_nna_run) run = nullptr;
  if (library) find(library, "tw_nna_run", &run);
  return run;
}

decltype(&tw_nna_run) api() {
  static const auto run = find_run();
  return run;
}

}  // namespace

void open_nna() {
  if (!api())
    fail(TW_DEVICE,
         "the artifact is for an NNA, and its simulator libtilewright_nna was not found: build the runtime with "
         "TILEWRIGHT_NNA=ON, or set $TILEWRIGHT_NNA to the library");
}

void run_stream(Bytes payload, const StreamOperand* operands, size_t count) {
  tw_nna_region regions[kStreamOperands] = {};
  for (size_t i = 0; i < count; ++i) regions[i] = {operands[i].data, operands[i].nbytes, operands[i].writable, 0};
  char error[512] = "";
  if (api()(payload.data, payload.size, regions, count, 0, error, sizeof error)) fail(TW_KERNEL, "%s", error);
}

}  // namespace tw
