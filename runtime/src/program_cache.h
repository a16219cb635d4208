// Compiled GPU programs on disk: drivers take seconds to compile a network's kernels.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "span.h"

namespace tw {

class ProgramCache {
 public:
  explicit ProgramCache(std::string folder) : folder_(std::move(folder)) {}  // "" is no cache

  // A name for what makes a program what it is: source, flags, device, driver.
  static std::string key(std::initializer_list<std::string_view> parts);

  // False when there is no entry or it is damaged.
  bool load(const std::string& key, std::vector<uint8_t>* program) const;
  // Writes atomically. A cache that cannot be written is not an error.
  void store(const std::string& key, Bytes program) const;

 private:
  std::string path(const std::string& key) const { return folder_ + "/" + key + ".bin"; }

  std::string folder_;
};

}  // namespace tw
