// The artifact file's bytes as structs. FORMAT.md explains them; compiler/artifact*.py writes them.
#pragma once

#include <cstdint>

namespace tw::format {

constexpr uint8_t kMagic[8] = {0x89, 'T', 'W', 'R', '\r', '\n', 0x1a, '\n'};
constexpr uint16_t kMajor = 1;
constexpr uint64_t kPage = 4096;
constexpr uint64_t kArenaAlignment = 256;
constexpr uint64_t kTensorAlignment = 64;  // of self-test tensors in their segment
constexpr uint32_t kMaxRank = 32;
constexpr uint32_t kTexel = 4;  // elements
constexpr int32_t kCopy = -1;   // Launch.module of the built-in copy

struct Header {
  uint8_t magic[8];
  uint16_t major, minor;
  uint32_t header_bytes;
  uint64_t file_bytes;
  uint32_t segment_count, segment_stride;
  uint32_t crc;  // of header and segment table, with this field zero
  uint32_t reserved[5];
};
static_assert(sizeof(Header) == 56);

enum SegmentKind : uint32_t { kPlan = 1, kMetadata, kCode, kConstants, kSelftest, kSegmentKinds };
constexpr uint32_t kRequired = 1;            // segment flag
constexpr uint32_t kDeflated = 256;          // since 1.2, added to a segment's kind: a u64 size, then a DEFLATE stream
constexpr uint64_t kGreatestExpansion = 32;  // of a DEFLATE stream

struct Segment {
  uint32_t kind, flags;
  uint64_t offset, nbytes;
  uint32_t crc, reserved;
};
static_assert(sizeof(Segment) == 32);

struct PlanHeader {
  uint32_t header_bytes, table_count;
  uint64_t arena_bytes, scratch_bytes;
  uint32_t target, backend;  // strings
  uint32_t inputs_first, inputs_count, outputs_first, outputs_count;
  uint64_t static_bytes, temporary_bytes;  // since 1.1
};
static_assert(sizeof(PlanHeader) == 64);

struct Table {
  uint32_t offset, count, stride, reserved;
};
static_assert(sizeof(Table) == 16);

enum TableKind { kBlob, kStrings, kIndices, kDims, kBuffers, kLaunches, kModules, kImages, kPrologue, kTables };

struct String {
  uint32_t offset, length;
};
static_assert(sizeof(String) == 8);

enum BufferKind : uint8_t { kInput, kOutput, kArena, kConstant, kStatic, kTemporary, kBufferKinds };
enum Storage : uint8_t { kRaw, kEntropy, kStorages };

struct Buffer {
  uint32_t name;
  uint8_t kind, dtype, storage, rank;
  uint32_t dims, reserved;
  uint64_t offset, nbytes;
  uint64_t file_bytes;    // since 1.1; of a constant: its size in the segment
  uint32_t symbol_bits;   // since 1.1
  uint32_t texel_buffer;  // since 1.1
};
static_assert(sizeof(Buffer) == 48);

struct Launch {
  uint32_t kernel;
  int32_t module;
  uint32_t args_first, args_count;
  uint32_t grid[3], block[3];
  uint32_t layers_first, layers_count;
};
static_assert(sizeof(Launch) == 48);

struct Module {
  uint32_t name, images_first, images_count, reserved;
};
static_assert(sizeof(Module) == 16);

struct Image {
  uint32_t kind, arch, options;
  uint32_t features_first, features_count, reserved;
  uint64_t offset, nbytes;
};
static_assert(sizeof(Image) == 40);

// What format 1.0 had: fields and tables after these read as zeros.
constexpr uint32_t kPlanHeaderBytes10 = 48, kBufferBytes10 = 32, kTables10 = kPrologue;

struct Selftest {
  uint32_t header_bytes, cases;
  double tolerance;
};
static_assert(sizeof(Selftest) == 16);

}  // namespace tw::format
