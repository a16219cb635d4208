#include "program_cache.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <memory>

#include "crc32.h"

namespace tw {
namespace {

constexpr uint64_t kMostBytes = 1u << 30;

struct EntryHeader {
  char magic[8];
  uint64_t nbytes;
  uint32_t crc;
  uint32_t version;
};
static_assert(sizeof(EntryHeader) == 24);
constexpr EntryHeader kBlank{{'T', 'W', 'P', 'R', 'O', 'G', '\r', '\n'}, 0, 0, 1};

struct Close {
  void operator()(FILE* file) const { fclose(file); }
};
using File = std::unique_ptr<FILE, Close>;

// FNV-1a over 64 bits, started from `state`.
uint64_t fnv(uint64_t state, std::string_view text) {
  for (unsigned char c : text) state = (state ^ c) * 0x100000001B3u;
  return state;
}

void make_folders(const std::string& folder) {
  for (size_t end = folder.find('/', 1); end != std::string::npos; end = folder.find('/', end + 1))
    mkdir(folder.substr(0, end).c_str(), 0700);
  mkdir(folder.c_str(), 0700);
}

}  // namespace

std::string ProgramCache::key(std::initializer_list<std::string_view> parts) {
  uint64_t high = 0xCBF29CE484222325u, low = 0x84222325CBF29CE4u;
  for (std::string_view part : parts) {
    std::string size = std::to_string(part.size()) + ":";  // so that parts cannot run into one another
    high = fnv(fnv(high, size), part);
    low = fnv(fnv(low ^ high >> 7, size), part);
  }
  char text[33];
  snprintf(text, sizeof text, "%016llx%016llx", static_cast<unsigned long long>(high),
           static_cast<unsigned long long>(low));
  return text;
}

bool ProgramCache::load(const std::string& key, std::vector<uint8_t>* program) const {
  if (folder_.empty()) return false;
  File file(fopen(path(key).c_str(), "rb"));
  EntryHeader header;
  struct stat info;
  if (!file || fread(&header, sizeof header, 1, file.get()) != 1 || fstat(fileno(file.get()), &info) != 0) return false;
  if (memcmp(header.magic, kBlank.magic, sizeof header.magic) != 0 || header.version != kBlank.version ||
      header.nbytes > kMostBytes || static_cast<uint64_t>(info.st_size) != sizeof header + header.nbytes)
    return false;
  program->resize(header.nbytes);
  return fread(program->data(), 1, program->size(), file.get()) == program->size() &&
         crc32(program->data(), program->size()) == header.crc;
}

void ProgramCache::store(const std::string& key, Bytes program) const {
  if (folder_.empty() || program.size > kMostBytes) return;
  make_folders(folder_);
  std::string temporary = path(key) + ".XXXXXX";
  int handle = mkstemp(&temporary[0]);
  if (handle < 0) return;
  File file(fdopen(handle, "wb"));
  EntryHeader header = kBlank;
  header.nbytes = program.size;
  header.crc = crc32(program.data, program.size);
  bool written = file && fwrite(&header, sizeof header, 1, file.get()) == 1 &&
                 fwrite(program.data, 1, program.size, file.get()) == program.size && fflush(file.get()) == 0;
  file.reset();
  if (!written || rename(temporary.c_str(), path(key).c_str()) != 0) unlink(temporary.c_str());
}

}  // namespace tw
