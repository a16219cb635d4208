#include "opencl_device.h"

#include "backend.h"
#include "choose.h"
#include "failure.h"

namespace tw::cl {
namespace {

constexpr size_t kFirstNumber = 1;  // in tw_device's list, after the cpu

template <typename Object>
std::string info_text(Int (*query)(Object, Uint, size_t, void*, size_t*), Object object, Uint key) {
  size_t size = 0;
  if (query(object, key, 0, nullptr, &size) != 0 || size == 0) return "";
  std::string text(size, '\0');
  if (query(object, key, size, &text[0], nullptr) != 0) return "";
  return text.c_str();  // up to its NUL
}

}  // namespace

std::vector<FoundDevice> find_devices() {
  std::vector<FoundDevice> found;
  const Api* cl = api();
  Uint platform_count = 0;
  if (!cl || cl->clGetPlatformIDs(0, nullptr, &platform_count) != 0 || platform_count == 0) return found;
  std::vector<Platform> platforms(platform_count);
  if (cl->clGetPlatformIDs(platform_count, platforms.data(), nullptr) != 0) return found;
  for (Platform platform : platforms) {
    Uint count = 0;
    if (cl->clGetDeviceIDs(platform, kDeviceTypeAll, 0, nullptr, &count) != 0 || count == 0) continue;
    std::vector<Device> devices(count);
    if (cl->clGetDeviceIDs(platform, kDeviceTypeAll, count, devices.data(), nullptr) != 0) continue;
    for (Device device : devices) {
      FoundDevice entry{device, (device_value<Flags>(device, kDeviceTypeKey) & kDeviceTypeGpu) != 0, "", "", ""};
      entry.name = info_text(cl->clGetDeviceInfo, device, kDeviceName);
      entry.driver = info_text(cl->clGetDeviceInfo, device, kDriverVersion) + "; " +
                     info_text(cl->clGetDeviceInfo, device, kDeviceVersion) + "; " +
                     info_text(cl->clGetPlatformInfo, platform, kPlatformName) + " " +
                     info_text(cl->clGetPlatformInfo, platform, kPlatformVersion);
      entry.extensions = " " + info_text(cl->clGetDeviceInfo, device, kDeviceExtensions) + " ";
      found.push_back(entry);
    }
  }
  return found;
}

FoundDevice choose_device(const std::string& wanted) {
  std::vector<FoundDevice> found = find_devices();
  if (found.empty())
    fail(TW_DEVICE, api() ? "no OpenCL device: the OpenCL loader found no driver (on Debian, `apt install "
                            "pocl-opencl-icd` runs on the cpu)"
                          : "no OpenCL driver: libOpenCL.so was not found (on Android, the app's manifest must have "
                            "<uses-native-library android:name=\"libOpenCL.so\"/>)");
  std::vector<std::string> names;
  for (const FoundDevice& device : found) names.push_back(device.name);
  if (!wanted.empty()) return found[choose(names, wanted, "OpenCL", kFirstNumber)];
  for (const FoundDevice& device : found)
    if (device.gpu) return device;
  return found[0];
}

}  // namespace tw::cl

namespace tw {

void list_opencl_devices(std::vector<tw_device_info>* devices) {
  for (const cl::FoundDevice& device : cl::find_devices()) {
    tw_device_info info{};
    copy_text(info.backend, sizeof info.backend, "opencl");
    copy_text(info.name, sizeof info.name, device.name.c_str());
    copy_text(info.driver, sizeof info.driver, device.driver.c_str());
    devices->push_back(info);
  }
}

}  // namespace tw
