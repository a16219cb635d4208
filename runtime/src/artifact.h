// A parsed artifact: every offset, count and index in it has been checked, and names are NUL-terminated
// UTF-8.
#pragma once

#include <string>
#include <vector>

#include "container.h"
#include "format.h"
#include "span.h"
#include "tilewright/tilewright.h"

namespace tw {

struct Buffer {
  const char* name;
  format::BufferKind kind;
  tw_dtype dtype;
  Span<uint64_t> shape;
  uint64_t offset;  // into the arena of its kind or the constants segment
  uint64_t nbytes;
  bool coded;         // a constant that must be expanded
  Bytes stored;       // a constant's bytes in the file
  bool texel_buffer;  // an image to launches other than the prologue's, in code with the feature "texels"
};

struct Launch {
  const char* kernel;
  int32_t module;  // index, or format::kCopy
  Span<uint32_t> args;
  uint32_t grid[3], block[3];
  Span<uint32_t> layers;  // strings
};

struct Image {
  const char *kind, *arch, *options;
  std::vector<const char*> features;
  Bytes data;
};

struct Module {
  const char* name;
  std::vector<Image> images;
};

struct Selftest {
  std::vector<Bytes> inputs, outputs;  // empty when the artifact has no self-test
  double tolerance = 0;
};

struct Artifact {
  const char *target, *backend;
  uint64_t arena_bytes, scratch_bytes, static_bytes, temporary_bytes;
  std::vector<Buffer> buffers;
  std::vector<uint32_t> inputs, outputs;
  std::vector<Launch> launches, prologue;
  std::vector<Module> modules;
  Bytes metadata, constants;
  Selftest selftest;

  Expanded expanded;  // segments that the file holds compressed
  std::vector<const char*> strings;
  std::vector<uint64_t> dims;     // Buffer.shape points in here
  std::vector<uint32_t> indices;  // Launch.args and Launch.layers point in here

  // Names of the layers of a launch, separated by ", " and cut short at a few hundred bytes.
  std::string layers(const Launch& launch) const;
  // "kernel 'k' (layers a, b)", for messages.
  std::string describe(const Launch& launch) const;
};

// Parses bytes, which must outlive the result. Throws Error(TW_ARTIFACT).
// Work and memory are linear in nbytes whatever the bytes are.
Artifact parse(Bytes file, bool checksums = true);

uint64_t item_bytes(tw_dtype dtype);
const char* dtype_name(tw_dtype dtype);

}  // namespace tw
