// Failures inside the runtime are thrown as Error and become a tw_status at the C boundary (api.cc).
#pragma once

#include <string>

#include "tilewright/tilewright.h"

namespace tw {

struct Error {
  tw_status status;
  std::string text;
};

[[noreturn]] void fail(tw_status status, const char* format, ...) __attribute__((format(printf, 2, 3)));

// A damaged or hostile artifact.
#define TW_BAD(...) ::tw::fail(TW_ARTIFACT, "damaged artifact: " __VA_ARGS__)

}  // namespace tw
