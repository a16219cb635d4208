#include "backend.h"

#include <time.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>

#include "checked.h"

namespace tw {

Budget::Budget(uint64_t limit) : limit_(limit) {
  if (limit_) return;
  long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
  limit_ = pages > 0 && page > 0 ? mul(pages, page) : UINT64_MAX;
}

void Budget::take(uint64_t nbytes, const char* what) {
  if (nbytes > limit_ - used_)
    fail(TW_MEMORY, "the model needs %llu bytes for %s; with the %llu bytes before it, that is over the limit of %llu",
         static_cast<unsigned long long>(nbytes), what, static_cast<unsigned long long>(used_),
         static_cast<unsigned long long>(limit_));
  used_ += nbytes;
}

void no_image(const Module& module, const std::string& reasons) {
  fail(TW_DEVICE, "module %s has no code for this device%s", module.name, reasons.c_str());
}

uint64_t now_ns() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return uint64_t(now.tv_sec) * 1000000000u + uint64_t(now.tv_nsec);
}

void copy_text(char* to, size_t size, const char* from) { snprintf(to, size, "%s", from); }

}  // namespace tw
