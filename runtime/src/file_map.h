// A file mapped read-only.
#pragma once

#include "span.h"

namespace tw {

class FileMap {
 public:
  FileMap() = default;
  explicit FileMap(const char* path);  // throws Error(TW_IO)
  ~FileMap();
  FileMap(FileMap&& other) noexcept;
  FileMap& operator=(FileMap&&) = delete;

  Bytes bytes() const { return bytes_; }

 private:
  Bytes bytes_;
};

}  // namespace tw
