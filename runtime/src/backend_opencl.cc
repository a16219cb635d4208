#include "backend.h"
#include "failure.h"

namespace tw {

std::unique_ptr<Backend> make_opencl_backend(const Artifact&, const Options&, Budget*) {
  fail(TW_DEVICE, "this build has no OpenCL back end");
}

void list_opencl_devices(std::vector<tw_device_info>*) {}

}  // namespace tw
