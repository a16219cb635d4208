// Picking a device by what the user wrote.
#pragma once

#include <string>
#include <vector>

namespace tw {

// The index into names of the device that wanted gives: its number in tw_device's list, where names starts at
// number `first`, or a part of its name, without regard to case; of several, the first.
// Throws Error(TW_DEVICE) listing the names.
size_t choose(const std::vector<std::string>& names, const std::string& wanted, const char* kind, size_t first);

}  // namespace tw
