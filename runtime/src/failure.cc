#include "failure.h"

#include <cstdarg>
#include <cstdio>

namespace tw {

void fail(tw_status status, const char* format, ...) {
  char text[4096];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  throw Error{status, text};
}

}  // namespace tw
