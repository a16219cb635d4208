#include "backend.h"
#include "failure.h"

namespace tw {

std::unique_ptr<Backend> make_cuda_backend(const Artifact&, const Options&, Budget*) {
  fail(TW_DEVICE, "this build has no CUDA back end");
}

void list_cuda_devices(std::vector<tw_device_info>*) {}

}  // namespace tw
