#include "file_map.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <utility>

#include "failure.h"

namespace tw {

FileMap::FileMap(const char* path) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  struct stat info;
  if (fd < 0 || fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
    int code = errno;
    if (fd >= 0) close(fd);
    fail(TW_IO, "%s: %s", path, fd >= 0 ? "not a regular file" : strerror(code));
  }
  if (info.st_size > 0) {
    void* data = mmap(nullptr, static_cast<size_t>(info.st_size), PROT_READ, MAP_PRIVATE, fd, 0);
    if (data != MAP_FAILED) bytes_ = {static_cast<const uint8_t*>(data), static_cast<size_t>(info.st_size)};
  }
  int code = errno;
  close(fd);
  if (!bytes_.data) fail(TW_IO, "%s: %s", path, info.st_size > 0 ? strerror(code) : "empty file");
}

FileMap::~FileMap() {
  if (bytes_.data) munmap(const_cast<uint8_t*>(bytes_.data), bytes_.size);
}

FileMap::FileMap(FileMap&& other) noexcept : bytes_(std::exchange(other.bytes_, Bytes{})) {}

}  // namespace tw
