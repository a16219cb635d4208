#include "choose.h"

#include <cctype>

#include "failure.h"

namespace tw {
namespace {

std::string lower(std::string text) {
  for (char& c : text) c = static_cast<char>(tolower(static_cast<unsigned char>(c)));
  return text;
}

}  // namespace

size_t choose(const std::vector<std::string>& names, const std::string& wanted, const char* kind, size_t first) {
  std::string list;
  for (size_t i = 0; i < names.size(); ++i) {
    const std::string number = std::to_string(first + i);
    if (wanted == number || lower(names[i]).find(lower(wanted)) != std::string::npos) return i;
    list += "; " + number + ": " + names[i];
  }
  fail(TW_DEVICE, "no %s device '%s'; there are%s", kind, wanted.c_str(), list.empty() ? " none" : list.c_str() + 1);
}

}  // namespace tw
