// A byte-mutation driver for machines without libFuzzer: mutate SECONDS SEED CORPUS_FILE...
// Deterministic for a seed and a number of rounds; prints how many inputs it ran.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <memory>
#include <random>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

// The custom mutator is libFuzzer's and not used here, but it links against this.
extern "C" size_t LLVMFuzzerMutate(uint8_t*, size_t size, size_t) { return size; }

namespace {

using Bytes = std::vector<uint8_t>;

void mutate(Bytes* bytes, std::mt19937_64* random) {
  static const uint64_t kEdges[] = {0,
                                    1,
                                    0x7F,
                                    0x80,
                                    0xFF,
                                    0x7FFFFFFF,
                                    0x80000000,
                                    0xFFFFFFFF,
                                    0x7FFFFFFFFFFFFFFF,
                                    0x8000000000000000,
                                    0xFFFFFFFFFFFFFFFF};
  if (bytes->empty()) return;
  auto below = [&](size_t limit) { return (*random)() % limit; };
  // Headers and tables rather than weights: near the start of a page.
  size_t at = below(3) ? below(8) * 4096 + below(1024) : below(bytes->size());
  at = std::min(at, bytes->size() - 1);
  switch (below(5)) {
    case 0:
      (*bytes)[at] ^= static_cast<uint8_t>(1u << below(8));
      break;
    case 1: {
      const uint64_t edge = kEdges[below(std::size(kEdges))];
      const size_t width = size_t{1} << below(4);
      for (size_t i = 0; i < width && at + i < bytes->size(); ++i) (*bytes)[at + i] = uint8_t(edge >> 8 * i);
      break;
    }
    case 2:
      (*bytes)[at] = static_cast<uint8_t>(below(256));
      break;
    case 3: {
      const size_t from = below(bytes->size()), most = bytes->size() - std::max(at, from);
      std::copy_n(bytes->begin() + long(from), below(most + 1), bytes->begin() + long(at));
      break;
    }
    default:
      if (below(8) == 0) bytes->resize(below(bytes->size() + 64));
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) return fprintf(stderr, "usage: %s SECONDS SEED CORPUS_FILE...\n", argv[0]), 2;
  std::vector<Bytes> corpus;
  for (int i = 3; i < argc; ++i) {
    std::ifstream file(argv[i], std::ios::binary);
    corpus.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  }
  std::mt19937_64 random(strtoull(argv[2], nullptr, 10));
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(atoi(argv[1]));
  uint64_t rounds = 0;
  for (; std::chrono::steady_clock::now() < end; ++rounds) {
    Bytes bytes = corpus[random() % corpus.size()];
    for (uint64_t n = 1 + random() % 4; n; --n) mutate(&bytes, &random);
    // An exact-size heap block, so that AddressSanitizer sees a read past its end.
    std::unique_ptr<uint8_t[]> exact(new uint8_t[bytes.size()]);
    std::copy(bytes.begin(), bytes.end(), exact.get());
    LLVMFuzzerTestOneInput(exact.get(), bytes.size());
  }
  printf("%llu inputs\n", static_cast<unsigned long long>(rounds));
}
