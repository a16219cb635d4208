// How far an output is from what a self-test expects.
#pragma once

#include "artifact.h"

namespace tw {

// |got - want| / |want| over all elements (|got| where want is all zero), computed in double. A NaN that is
// not expected gives NaN. `want` may be unaligned.
double relative_error(tw_dtype dtype, const void* got, Bytes want);

}  // namespace tw
