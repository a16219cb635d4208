// Optional drivers (OpenCL, CUDA) are opened at run time, so the runtime starts on machines without them.
#pragma once

#include <dlfcn.h>

#include <initializer_list>

namespace tw {

// The first of the libraries that opens, or null. Never closed: drivers do not survive being unloaded.
inline void* open_driver(std::initializer_list<const char*> names) {
  for (const char* name : names)
    if (void* handle = dlopen(name, RTLD_NOW | RTLD_LOCAL)) return handle;
  return nullptr;
}

// Fills a function pointer from a library; false when it lacks the symbol.
template <typename Function>
bool find(void* library, const char* name, Function** function) {
  *function = reinterpret_cast<Function*>(dlsym(library, name));
  return *function != nullptr;
}

}  // namespace tw
