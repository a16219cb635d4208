// Profiles as Chrome trace JSON.
#pragma once

#include <string>
#include <vector>

#include "backend.h"

namespace tw {

// One complete event ("ph": "X") a launch; times in microseconds from the run's start.
std::string chrome_trace(const Artifact& artifact, const std::string& device, const std::vector<Timing>& timings);

}  // namespace tw
