// Objects of OpenCL that are released when their owner goes.
#pragma once

#include <utility>

#include "opencl_api.h"

namespace tw::cl {

// A reference-counted OpenCL object of ours.
template <typename Object>
class Owned {
 public:
  using Release = Int (*)(Object);
  Owned() = default;
  Owned(Object object, Release release) : object_(object), release_(release) {}
  Owned(Owned&& other) noexcept { *this = std::move(other); }
  Owned& operator=(Owned&& other) noexcept {
    std::swap(object_, other.object_);
    std::swap(release_, other.release_);
    return *this;
  }
  ~Owned() {
    if (object_) release_(object_);
  }
  Object get() const { return object_; }

 private:
  Object object_ = nullptr;
  Release release_ = nullptr;
};

}  // namespace tw::cl
