// Finding OpenCL devices and asking them things.
#pragma once

#include <string>
#include <vector>

#include "opencl_api.h"

namespace tw::cl {

struct FoundDevice {
  Device device;
  bool gpu;
  std::string name, driver;  // driver: version of driver, device and platform
  std::string extensions;
};

std::vector<FoundDevice> find_devices();

// The device that wanted names by number or part of its name; the first GPU, else the first device, when it
// is "". Throws Error(TW_DEVICE) listing what there is.
FoundDevice choose_device(const std::string& wanted);

template <typename T>
T device_value(Device device, Uint key) {
  T value{};
  check(api()->clGetDeviceInfo(device, key, sizeof value, &value, nullptr), "clGetDeviceInfo");
  return value;
}

}  // namespace tw::cl
