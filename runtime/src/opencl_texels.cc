#include "opencl_texels.h"

#include <cstdlib>
#include <cstring>

#include "opencl_device.h"

namespace tw::cl {
namespace {

Uint channel_type(tw_dtype dtype) {
  switch (dtype) {
    case TW_FLOAT32:
      return kFloat;
    case TW_FLOAT16:
      return kHalfFloat;
    case TW_INT32:
      return kSignedInt32;
    default:
      return kUnsignedInt32;
  }
}

}  // namespace

bool wants_texels(const char* feature, uint64_t* texels) {
  static const char kPrefix[] = "texels:";
  if (strncmp(feature, kPrefix, sizeof kPrefix - 1) != 0) return false;
  *texels = strtoull(feature + sizeof kPrefix - 1, nullptr, 10);
  return true;
}

uint64_t most_texels(Device device) {
  return device_value<Bool>(device, kDeviceImageSupport) ? device_value<size_t>(device, kDeviceImageMaxBufferSize) : 0;
}

Mem create_texels(Context context, Mem memory, const Buffer& buffer) {
  const ImageFormat format{kRgba, channel_type(buffer.dtype)};
  ImageDescription description{};
  description.type = kImage1dBuffer;
  description.width = static_cast<size_t>(buffer.nbytes / (item_bytes(buffer.dtype) * format::kTexel));
  description.buffer = memory;
  Int code;
  Mem image = api()->clCreateImage(context, kMemReadOnly, &format, &description, nullptr, &code);
  check(code, "clCreateImage", buffer.name);
  return image;
}

}  // namespace tw::cl
