#include "opencl_api.h"

#include "dynamic_library.h"
#include "failure.h"

namespace tw::cl {

const Api* api() {
  static const struct Loaded {
    Api api;
    bool found = false;
    Loaded() {
      void* library = open_driver({
          "libOpenCL.so.1",
          "libOpenCL.so",
          "/vendor/lib64/libOpenCL.so",  // Android
          "/system/vendor/lib64/libOpenCL.so",
          "/vendor/lib64/egl/libGLES_mali.so",
      });
      found = library != nullptr;
#define X(result, name, parameters) found = found && find(library, #name, &api.name);
      TW_OPENCL_FUNCTIONS(X)
#undef X
    }
  } loaded;
  return loaded.found ? &loaded.api : nullptr;
}

const char* error_name(Int code) {
  switch (code) {
    case -1:
      return "CL_DEVICE_NOT_FOUND";
    case -2:
      return "CL_DEVICE_NOT_AVAILABLE";
    case -4:
      return "CL_MEM_OBJECT_ALLOCATION_FAILURE";
    case -5:
      return "CL_OUT_OF_RESOURCES";
    case -6:
      return "CL_OUT_OF_HOST_MEMORY";
    case -11:
      return "CL_BUILD_PROGRAM_FAILURE";
    case -13:
      return "CL_MISALIGNED_SUB_BUFFER_OFFSET";
    case -10:
      return "CL_IMAGE_FORMAT_NOT_SUPPORTED";
    case -38:
      return "CL_INVALID_MEM_OBJECT";
    case -40:
      return "CL_INVALID_IMAGE_SIZE";
    case -42:
      return "CL_INVALID_BINARY";
    case -43:
      return "CL_INVALID_BUILD_OPTIONS";
    case -45:
      return "CL_INVALID_PROGRAM_EXECUTABLE";
    case -46:
      return "CL_INVALID_KERNEL_NAME";
    case -49:
      return "CL_INVALID_ARG_INDEX";
    case -50:
      return "CL_INVALID_ARG_VALUE";
    case -51:
      return "CL_INVALID_ARG_SIZE";
    case -52:
      return "CL_INVALID_KERNEL_ARGS";
    case -54:
      return "CL_INVALID_WORK_GROUP_SIZE";
    case -55:
      return "CL_INVALID_WORK_ITEM_SIZE";
    case -61:
      return "CL_INVALID_BUFFER_SIZE";
    case -63:
      return "CL_INVALID_GLOBAL_WORK_SIZE";
    case -1001:
      return "CL_PLATFORM_NOT_FOUND_KHR";
    default:
      return "OpenCL error";
  }
}

void check(Int code, const char* call, const char* what) {
  if (code != 0) fail(TW_DEVICE, "%s failed: %s (%d)%s%s", call, error_name(code), code, *what ? " for " : "", what);
}

}  // namespace tw::cl
