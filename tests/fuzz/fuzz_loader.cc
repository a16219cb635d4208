// Fuzzes the loader: any bytes give either an artifact whose every view lies inside those bytes or what they
// expand to, or an Error.
// Nothing of the artifact is executed. For libFuzzer, or for mutate.cc where that is missing.
#include <cstdlib>
#include <cstring>

#include "artifact.h"
#include "failure.h"
#include "trace.h"
#include "weights.h"

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size) __attribute__((weak));

namespace {

void need(bool holds) {
  if (!holds) abort();
}

void need_inside(tw::Bytes part, tw::Bytes whole) {
  need(part.data >= whole.data && part.data + part.size <= whole.data + whole.size);
}

void need_inside_any(tw::Bytes part, tw::Bytes file, const tw::Expanded& expanded) {
  for (const std::vector<uint8_t>& segment : expanded)
    if (part.data >= segment.data() && part.data <= segment.data() + segment.size())
      return need_inside(part, {segment.data(), segment.size()});
  need_inside(part, file);
}

// Expands what a session would expand, as far as a fuzzer's memory goes. Damaged weights are an Error.
size_t expand(const tw::Artifact& artifact, tw::Bytes file) {
  constexpr uint64_t kMost = 1 << 20;
  const tw::Needs needs(artifact);
  size_t sum = 0;
  for (size_t i = 0; i < artifact.buffers.size(); ++i) {
    const tw::Buffer& buffer = artifact.buffers[i];
    need(!(needs.run[i] && needs.load[i]));
    if (buffer.kind != tw::format::kConstant) continue;
    need_inside(buffer.stored, file);
    if (buffer.nbytes > kMost) continue;
    std::vector<uint8_t> bytes(buffer.nbytes);
    tw::read_constant(buffer, bytes.data());
    for (uint8_t byte : bytes) sum += byte;
  }
  return sum;
}

// Reads all that a session would read.
size_t visit(const tw::Artifact& artifact, tw::Bytes file) {
  size_t sum = strlen(artifact.target) + strlen(artifact.backend);
  need_inside_any(artifact.metadata, file, artifact.expanded);
  need_inside(artifact.constants, file);
  for (const tw::Buffer& buffer : artifact.buffers) {
    uint64_t nbytes = tw::item_bytes(buffer.dtype);
    for (uint64_t dim : buffer.shape) nbytes *= dim;
    need(nbytes == buffer.nbytes);
    if (buffer.kind == tw::format::kArena) need(buffer.offset + nbytes <= artifact.arena_bytes);
    if (buffer.kind == tw::format::kStatic) need(buffer.offset + nbytes <= artifact.static_bytes);
    if (buffer.kind == tw::format::kTemporary) need(buffer.offset + nbytes <= artifact.temporary_bytes);
    if (buffer.kind == tw::format::kConstant && !buffer.coded)
      need(buffer.offset + nbytes <= artifact.constants.size && buffer.stored.size == nbytes);
    sum += strlen(buffer.name);
  }
  for (uint32_t index : artifact.inputs) need(artifact.buffers.at(index).kind == tw::format::kInput);
  for (uint32_t index : artifact.outputs) need(artifact.buffers.at(index).kind == tw::format::kOutput);
  for (const tw::Launch& launch : artifact.launches) {
    sum += artifact.describe(launch).size();
    for (uint32_t arg : launch.args) need(arg < artifact.buffers.size());
    need(launch.module == tw::format::kCopy || size_t(launch.module) < artifact.modules.size());
  }
  for (const tw::Module& module : artifact.modules)
    for (const tw::Image& image : module.images) {
      need_inside_any(image.data, file, artifact.expanded);
      for (const char* feature : image.features) sum += strlen(feature);
    }
  for (tw::Bytes tensor : artifact.selftest.inputs) need_inside(tensor, file);
  for (tw::Bytes tensor : artifact.selftest.outputs) need_inside(tensor, file);
  std::vector<tw::Timing> timings(artifact.launches.size());
  for (const tw::Launch& launch : artifact.prologue) {
    sum += artifact.describe(launch).size();
    for (uint32_t arg : launch.args) {
      const auto kind = artifact.buffers.at(arg).kind;
      need(kind == tw::format::kConstant || kind == tw::format::kStatic || kind == tw::format::kTemporary);
    }
  }
  return sum + expand(artifact, file) + tw::chrome_trace(artifact, "fuzz", timings).size();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  tw::Bytes file{data, size};
  // Without checksums first: mutations would otherwise never get past them.
  for (bool checksums : {false, true}) {
    try {
      tw::Artifact artifact = tw::parse(file, checksums);
      volatile size_t sink = visit(artifact, file);
      (void)sink;
    } catch (const tw::Error& error) {
      need(error.status == TW_ARTIFACT && !error.text.empty());
    }
  }
  return 0;
}

// Most of a file is weights and padding: aim at the header and at the first bytes of a page, where tables
// begin.
extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size, unsigned seed) {
  constexpr size_t kTables = 1024;
  size_t pages = size / tw::format::kPage + 1;
  size_t start = seed % 8 == 0 ? 0 : (seed / 8 % 4 ? 1 : seed / 32 % pages) * tw::format::kPage;
  if (seed % 16 == 1 || start + kTables > size) return LLVMFuzzerMutate(data, size, max_size);
  LLVMFuzzerMutate(data + start, kTables, kTables);
  return size;
}
