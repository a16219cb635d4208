#include "container.h"

#include <cstring>

#include "checked.h"
#include "crc32.h"
#include "inflate.h"

namespace tw {
namespace {

using format::Header;
using format::Segment;

const char* name_of(uint32_t kind) {
  static const char* const names[] = {"unknown", "plan", "metadata", "code", "constants", "selftest"};
  return names[kind < format::kSegmentKinds ? kind : 0];
}

bool all_zero(const uint8_t* data, uint64_t nbytes) {
  uint8_t any = 0;
  for (uint64_t i = 0; i < nbytes; ++i) any |= data[i];
  return any == 0;
}

std::vector<uint8_t> expand(Bytes body, const char* name) {
  uint64_t nbytes = 0;
  if (body.size < sizeof nbytes) TW_BAD("%s segment too short", name);
  memcpy(&nbytes, body.data, sizeof nbytes);
  const Bytes stream{body.data + sizeof nbytes, body.size - sizeof nbytes};
  if (nbytes > mul(stream.size, format::kGreatestExpansion)) TW_BAD("%s segment expands too far", name);
  std::vector<uint8_t> out(nbytes);
  inflate(stream, out.data(), out.size());
  return out;
}

Header read_header(Bytes file, bool checksums) {
  Header header;
  if (file.size < sizeof header || memcmp(file.data, format::kMagic, sizeof format::kMagic) != 0)
    fail(TW_ARTIFACT, "not a Tilewright artifact (wrong magic number)");
  memcpy(&header, file.data, sizeof header);
  if (header.major != format::kMajor)
    fail(TW_ARTIFACT, "artifact of format %u.%u, this runtime reads %u.x: compile the model again", header.major,
         header.minor, format::kMajor);
  if (header.file_bytes != file.size)
    TW_BAD("%zu bytes, its header says %llu", file.size, static_cast<unsigned long long>(header.file_bytes));
  if (header.header_bytes < sizeof header || header.segment_stride < sizeof(Segment))
    TW_BAD("header or segment table too short");
  uint64_t end = add(header.header_bytes, mul(header.segment_count, header.segment_stride));
  if (end > file.size) TW_BAD("segment table out of range");
  if (!checksums) return header;
  Header blank = header;
  blank.crc = 0;
  uint32_t crc = crc32(&blank, sizeof blank);
  if (crc32(file.data + sizeof blank, end - sizeof blank, crc) != header.crc) TW_BAD("header checksum does not match");
  return header;
}

}  // namespace

Segments split(Bytes file, bool checksums) {
  Header header = read_header(file, checksums);
  Segments found;
  uint64_t end = header.header_bytes + uint64_t{header.segment_count} * header.segment_stride;
  for (uint32_t i = 0; i < header.segment_count; ++i) {
    Segment segment;
    memcpy(&segment, file.data + header.header_bytes + uint64_t{i} * header.segment_stride, sizeof segment);
    const bool deflated = segment.kind > format::kDeflated && segment.kind < format::kDeflated + format::kConstants;
    const uint32_t kind = deflated ? segment.kind - format::kDeflated : segment.kind;
    const char* name = name_of(kind);
    if (segment.offset % format::kPage || segment.offset < end || !fits(segment.offset, segment.nbytes, file.size))
      TW_BAD("%s segment out of place", name);
    if (segment.offset - end >= format::kPage || !all_zero(file.data + end, segment.offset - end))
      TW_BAD("bytes between segments");
    Bytes body{file.data + segment.offset, static_cast<size_t>(segment.nbytes)};
    if (checksums && crc32(body.data, body.size) != segment.crc)
      TW_BAD("checksum of the %s segment does not match", name);
    end = segment.offset + segment.nbytes;
    if (kind == 0 || kind >= format::kSegmentKinds) {
      if (segment.flags & format::kRequired)
        fail(TW_ARTIFACT, "artifact needs segment kind %u, which this runtime does not know: update the runtime", kind);
      continue;
    }
    if (found.by_kind[kind].data) TW_BAD("two %s segments", name);
    if (deflated) {
      found.expanded[kind] = expand(body, name);
      body = {found.expanded[kind].data(), found.expanded[kind].size()};
    }
    found.by_kind[kind] = body;
  }
  if (end != file.size) TW_BAD("bytes after the last segment");
  for (uint32_t kind : {format::kPlan, format::kMetadata, format::kCode, format::kConstants})
    if (!found.by_kind[kind].data) TW_BAD("no %s segment", name_of(kind));
  return found;
}

}  // namespace tw
