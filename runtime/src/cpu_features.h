// The machine's architecture and instruction set extensions, by the names that FORMAT.md lists.
#pragma once

#include <string>

namespace tw {

const char* cpu_arch();             // "x86_64", "aarch64", or "unknown"
bool cpu_has(const char* feature);  // false for names it does not know
std::string cpu_features();         // all that this machine has, separated by spaces

}  // namespace tw
