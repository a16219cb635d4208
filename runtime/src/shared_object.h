// A shared object loaded from memory.
#pragma once

#include "span.h"

namespace tw {

class SharedObject {
 public:
  // Throws Error: TW_ARTIFACT if the bytes are no ELF shared object for this machine, TW_DEVICE if the
  // system's loader refuses it. fallback_dir takes a private temporary file where memfd_create is missing.
  SharedObject(Bytes image, const char* fallback_dir);
  ~SharedObject();
  SharedObject(SharedObject&& other) noexcept;
  SharedObject& operator=(SharedObject&&) = delete;

  void* symbol(const char* name) const;  // null when absent

 private:
  void* handle_ = nullptr;
  int fd_ = -1;
};

}  // namespace tw
