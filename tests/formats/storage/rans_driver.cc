// Expands the cases on standard input (little-endian u64 nbytes, u64 size, and size bytes of data, until the
// end) and writes for each u32 0 and the nbytes bytes, or u32 length and an error of that length. The buffers
// are exactly as large as promised, so that AddressSanitizer sees any access beyond them.
#include <cstdio>
#include <cstring>
#include <memory>

#include "failure.h"
#include "rans.h"

namespace {

void write(const void* data, size_t nbytes) { fwrite(data, 1, nbytes, stdout); }

}  // namespace

int main() {
  uint64_t head[2];
  while (fread(head, sizeof head, 1, stdin) == 1) {
    std::unique_ptr<uint8_t[]> data(new uint8_t[head[1]]);
    if (fread(data.get(), 1, head[1], stdin) != head[1]) return 2;
    std::unique_ptr<uint8_t[]> out(new uint8_t[head[0]]);
    uint32_t length = 0;
    try {
      tw::rans_expand({data.get(), static_cast<size_t>(head[1])}, out.get(), head[0]);
      write(&length, sizeof length);
      write(out.get(), head[0]);
    } catch (const tw::Error& error) {
      length = static_cast<uint32_t>(error.text.size());
      write(&length, sizeof length);
      write(error.text.data(), length);
    }
  }
  return 0;
}
