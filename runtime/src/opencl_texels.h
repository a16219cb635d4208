// Images over buffers: weights that kernels read as texels of four elements.
#pragma once

#include "artifact.h"
#include "opencl_api.h"

namespace tw::cl {

// Whether a code image's feature is "texels:N" rather than an extension; then *texels is N.
bool wants_texels(const char* feature, uint64_t* texels);

// The texels that an image over a buffer may have; 0 where the device has no images.
uint64_t most_texels(Device device);

// An image over all of memory, which holds what the artifact says of buffer. Throws Error(TW_DEVICE).
Mem create_texels(Context context, Mem memory, const Buffer& buffer);

}  // namespace tw::cl
