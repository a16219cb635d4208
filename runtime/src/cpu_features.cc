#include "cpu_features.h"

#include <cstdint>
#include <cstring>

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__)
#include <sys/auxv.h>
#endif

namespace tw {
namespace {

#if defined(__x86_64__)

enum Register { kEax, kEbx, kEcx, kEdx };
enum State : uint64_t { kNone = 0, kYmm = 0x6, kZmm = 0xE6, kTile = 0x60000 };  // XCR0 bits the OS must save

// Intel SDM volume 2, CPUID; names as LLVM gives them.
constexpr struct Feature {
  const char* name;
  uint32_t leaf, subleaf;
  Register reg;
  int bit;
  State state;
} kFeatures[] = {
    {"sse4.1", 1, 0, kEcx, 19, kNone},    {"sse4.2", 1, 0, kEcx, 20, kNone},    {"popcnt", 1, 0, kEcx, 23, kNone},
    {"avx", 1, 0, kEcx, 28, kYmm},        {"fma", 1, 0, kEcx, 12, kYmm},        {"f16c", 1, 0, kEcx, 29, kYmm},
    {"avx2", 7, 0, kEbx, 5, kYmm},        {"bmi", 7, 0, kEbx, 3, kNone},        {"bmi2", 7, 0, kEbx, 8, kNone},
    {"avx512f", 7, 0, kEbx, 16, kZmm},    {"avx512dq", 7, 0, kEbx, 17, kZmm},   {"avx512cd", 7, 0, kEbx, 28, kZmm},
    {"avx512bw", 7, 0, kEbx, 30, kZmm},   {"avx512vl", 7, 0, kEbx, 31, kZmm},   {"avx512vbmi", 7, 0, kEcx, 1, kZmm},
    {"avx512vnni", 7, 0, kEcx, 11, kZmm}, {"avx512fp16", 7, 0, kEdx, 23, kZmm}, {"avx512bf16", 7, 1, kEax, 5, kZmm},
    {"avxvnni", 7, 1, kEax, 4, kYmm},     {"amx-tile", 7, 0, kEdx, 24, kTile},  {"amx-int8", 7, 0, kEdx, 25, kTile},
};

uint64_t enabled_state() {
  uint32_t eax, ebx, ecx, edx;
  if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx) || !(ecx >> 27 & 1)) return 0;  // OSXSAVE
  asm volatile("xgetbv" : "=a"(eax), "=d"(edx) : "c"(0));
  return uint64_t{edx} << 32 | eax;
}

bool present(const Feature& feature) {
  uint32_t regs[4];
  if (!__get_cpuid_count(feature.leaf, feature.subleaf, &regs[0], &regs[1], &regs[2], &regs[3])) return false;
  return (regs[feature.reg] >> feature.bit & 1) && (enabled_state() & feature.state) == feature.state;
}

#elif defined(__aarch64__)

// Linux arch/arm64 hwcaps.
constexpr struct Feature {
  const char* name;
  unsigned long type;
  int bit;
} kFeatures[] = {
    {"neon", AT_HWCAP, 1},   {"crc", AT_HWCAP, 7},      {"lse", AT_HWCAP, 8},  {"fp16", AT_HWCAP, 10},
    {"rdm", AT_HWCAP, 12},   {"dotprod", AT_HWCAP, 20}, {"sve", AT_HWCAP, 22}, {"sve2", AT_HWCAP2, 1},
    {"i8mm", AT_HWCAP2, 13}, {"bf16", AT_HWCAP2, 14},
};

bool present(const Feature& feature) { return getauxval(feature.type) >> feature.bit & 1; }

#else

struct Feature {
  const char* name;
};
constexpr Feature kFeatures[] = {{""}};
bool present(const Feature&) { return false; }

#endif

}  // namespace

const char* cpu_arch() {
#if defined(__x86_64__)
  return "x86_64";
#elif defined(__aarch64__)
  return "aarch64";
#else
  return "unknown";
#endif
}

bool cpu_has(const char* name) {
  for (const Feature& feature : kFeatures)
    if (!strcmp(feature.name, name)) return present(feature);
  return false;
}

std::string cpu_features() {
  std::string text;
  for (const Feature& feature : kFeatures)
    if (present(feature)) text += (text.empty() ? "" : " ") + std::string(feature.name);
  return text;
}

}  // namespace tw
