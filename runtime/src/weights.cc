#include "weights.h"

#include <cstring>

#include "failure.h"
#include "rans.h"

namespace tw {
namespace {

void mark(const Artifact& artifact, const std::vector<Launch>& launches, std::vector<bool>* needed) {
  needed->resize(artifact.buffers.size());
  for (const Launch& launch : launches)
    for (uint32_t arg : launch.args)
      if (artifact.buffers[arg].kind == format::kConstant) (*needed)[arg] = true;
}

}  // namespace

Needs::Needs(const Artifact& artifact) {
  mark(artifact, artifact.launches, &run);
  mark(artifact, artifact.prologue, &load);
  for (size_t i = 0; i < load.size(); ++i) load[i] = load[i] && !run[i];
}

void read_constant(const Buffer& constant, uint8_t* out) {
  if (!constant.coded) {
    if (constant.nbytes) memcpy(out, constant.stored.data, constant.nbytes);
    return;
  }
  try {
    rans_expand(constant.stored, out, constant.nbytes);
  } catch (Error& error) {
    error.text += std::string(" (constant '") + constant.name + "')";
    throw;
  }
}

}  // namespace tw
