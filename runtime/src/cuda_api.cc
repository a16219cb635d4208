#include "cuda_api.h"

#include "dynamic_library.h"
#include "failure.h"

namespace tw::cuda {

const Api* api() {
  static const struct Loaded {
    Api api;
    bool found = false;
    Loaded() {
      void* library = open_driver({"libcuda.so.1", "libcuda.so"});
      found = library != nullptr;
#define X(symbol, name, parameters) found = found && find(library, #symbol, &api.name);
      TW_CUDA_FUNCTIONS(X)
#undef X
      found = found && api.init(0) == 0;
    }
  } loaded;
  return loaded.found ? &loaded.api : nullptr;
}

void check(Result code, const char* call, const char* what) {
  if (code == 0) return;
  const char* name = nullptr;
  if (api()->error_name(code, &name) != 0 || !name) name = "CUDA error";
  fail(TW_DEVICE, "%s failed: %s (%d)%s%s", call, name, code, *what ? " for " : "", what);
}

}  // namespace tw::cuda
