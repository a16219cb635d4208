#include "shared_object.h"

#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <string>
#include <utility>

#include "checked.h"
#ifdef __ANDROID__
#include <android/dlext.h>
#endif

namespace tw {
namespace {

#if defined(__x86_64__)
constexpr uint16_t kMachine = EM_X86_64;
#elif defined(__aarch64__)
constexpr uint16_t kMachine = EM_AARCH64;
#else
constexpr uint16_t kMachine = EM_NONE;
#endif

// The system's loader maps segments without looking at the file's size and would die of SIGBUS on a short
// one.
void check_elf(Bytes image) {
  Elf64_Ehdr header;
  if (image.size < sizeof header) TW_BAD("kernel code is no ELF file");
  memcpy(&header, image.data, sizeof header);
  if (memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_ident[EI_CLASS] != ELFCLASS64 ||
      header.e_ident[EI_DATA] != ELFDATA2LSB || header.e_type != ET_DYN)
    TW_BAD("kernel code is no 64-bit ELF shared object");
  if (header.e_machine != kMachine) fail(TW_DEVICE, "kernel code is for another machine (ELF %u)", header.e_machine);
  if (header.e_phentsize != sizeof(Elf64_Phdr) ||
      !fits(header.e_phoff, mul(header.e_phnum, sizeof(Elf64_Phdr)), image.size))
    TW_BAD("kernel code has bad program headers");
  for (int i = 0; i < header.e_phnum; ++i) {
    Elf64_Phdr part;
    memcpy(&part, image.data + header.e_phoff + i * sizeof part, sizeof part);
    if (!fits(part.p_offset, part.p_filesz, image.size) || part.p_filesz > part.p_memsz)
      TW_BAD("kernel code has a segment outside the file");
  }
}

bool write_all(int fd, Bytes image) {
  for (size_t done = 0; done < image.size;) {
    ssize_t wrote = write(fd, image.data + done, image.size - done);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote <= 0) return false;
    done += static_cast<size_t>(wrote);
  }
  return true;
}

int memory_file() {
#ifdef SYS_memfd_create
  return static_cast<int>(syscall(SYS_memfd_create, "tilewright-kernels", 1u /* MFD_CLOEXEC */));
#else
  return -1;
#endif
}

void* open_library(int fd, const char* path) {
#ifdef __ANDROID__
  android_dlextinfo info = {};
  info.flags = ANDROID_DLEXT_USE_LIBRARY_FD;
  info.library_fd = fd;
  return android_dlopen_ext(path, RTLD_NOW | RTLD_LOCAL, &info);
#else
  (void)fd;
  return dlopen(path, RTLD_NOW | RTLD_LOCAL);
#endif
}

}  // namespace

SharedObject::SharedObject(Bytes image, const char* fallback_dir) {
  check_elf(image);
  std::string path, reason;
  fd_ = memory_file();
  if (fd_ >= 0) {
    // The loader knows libraries by path too, so fd_ stays open: no other live library can get its number.
    path = "/proc/self/fd/" + std::to_string(fd_);
    if (write_all(fd_, image)) handle_ = open_library(fd_, path.c_str());
    if (handle_) return;
    const char* text = dlerror();
    reason = text ? text : strerror(errno);
    close(fd_);
    fd_ = -1;
  }
  path = std::string(fallback_dir) + "/tilewright-XXXXXX";
  int file = mkstemp(&path[0]);  // private to this user
  if (file >= 0) {
    if (write_all(file, image)) handle_ = open_library(file, path.c_str());
    const char* text = handle_ ? nullptr : dlerror();
    if (text) reason = text;
    unlink(path.c_str());
    close(file);
  }
  if (!handle_) fail(TW_DEVICE, "cannot load the kernels: %s", reason.empty() ? strerror(errno) : reason.c_str());
}

SharedObject::~SharedObject() {
  if (handle_) dlclose(handle_);
  if (fd_ >= 0) close(fd_);
}

SharedObject::SharedObject(SharedObject&& other) noexcept
    : handle_(std::exchange(other.handle_, nullptr)), fd_(std::exchange(other.fd_, -1)) {}

void* SharedObject::symbol(const char* name) const { return dlsym(handle_, name); }

}  // namespace tw
