// Picking a device by what the user wrote.
#pragma once

#include <string>
#include <vector>

namespace tw {

// The index that wanted gives: a number, or a part of exactly one name or of several (then the first),
// without regard to case. Throws Error(TW_DEVICE) listing the names.
size_t choose(const std::vector<std::string>& names, const std::string& wanted, const char* kind);

}  // namespace tw
