// Looking for NaN in an input before it spreads through a model.
#pragma once

#include "tilewright/tilewright.h"

namespace tw {

// Whether a tensor of a float dtype holds NaN; false for other dtypes. data may be unaligned.
bool has_nan(tw_dtype dtype, const void* data, uint64_t nbytes);

}  // namespace tw
