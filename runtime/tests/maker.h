// Makes small artifacts by hand, good and bad, without the compiler.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "crc32.h"
#include "format.h"

namespace maker {

namespace format = tw::format;

template <typename T>
void append(std::vector<uint8_t>* to, const T& value) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(&value);
  to->insert(to->end(), bytes, bytes + sizeof value);
}

// The PLAN segment's tables, to be changed at will before `file`.
struct Tables {
  std::vector<uint8_t> blob;
  std::vector<format::String> strings;
  std::vector<uint32_t> indices;
  std::vector<uint64_t> dims;
  std::vector<format::Buffer> buffers;
  std::vector<format::Launch> launches, prologue;
  std::vector<format::Module> modules;
  std::vector<format::Image> images;
  std::vector<uint8_t> constants = std::vector<uint8_t>(1024, 7);
  format::PlanHeader header{sizeof(format::PlanHeader), format::kTables, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};

  uint32_t string(const std::string& text) {
    strings.push_back({uint32_t(blob.size()), uint32_t(text.size())});
    blob.insert(blob.end(), text.c_str(), text.c_str() + text.size() + 1);
    return uint32_t(strings.size() - 1);
  }

  uint32_t list(std::vector<uint32_t> values) {
    uint32_t first = uint32_t(indices.size());
    indices.insert(indices.end(), values.begin(), values.end());
    return first;
  }

  uint32_t buffer(const char* name, format::BufferKind kind, uint64_t floats, uint64_t offset = 0) {
    dims.push_back(floats);
    buffers.push_back({string(name), kind, TW_FLOAT32, 0, 1, uint32_t(dims.size() - 1), 0, offset, floats * 4,
                       kind == format::kConstant ? floats * 4 : 0, 0, 0});
    return uint32_t(buffers.size() - 1);
  }

  // An entropy-coded constant; its bytes go to the end of the constants.
  uint32_t coded(const char* name, uint64_t floats, const std::vector<uint8_t>& bytes) {
    const uint32_t index = buffer(name, format::kConstant, floats, constants.size());
    buffers[index].storage = format::kEntropy;
    buffers[index].file_bytes = bytes.size();
    buffers[index].symbol_bits = 8;
    constants.insert(constants.end(), bytes.begin(), bytes.end());
    return index;
  }

  void copy(uint32_t from, uint32_t to, const char* layer, bool at_load = false) {
    uint32_t args = list({from, to}), layers = list({string(layer)});
    (at_load ? prologue : launches)
        .push_back({string("copy"), format::kCopy, args, 2, {1, 1, 1}, {1, 1, 1}, layers, 1});
  }

  std::vector<uint8_t> plan() const {
    std::vector<uint8_t> body, heads;
    append(&heads, header);
    uint32_t start = uint32_t(sizeof header + format::kTables * sizeof(format::Table));
    auto put = [&](const void* data, size_t count, size_t stride) {
      append(&heads, format::Table{uint32_t(start + body.size()), uint32_t(count), uint32_t(stride), 0});
      const auto* bytes = static_cast<const uint8_t*>(data);
      body.insert(body.end(), bytes, bytes + count * stride);
      body.resize((body.size() + 7) / 8 * 8);
    };
    put(blob.data(), blob.size(), 1);
    put(strings.data(), strings.size(), sizeof(format::String));
    put(indices.data(), indices.size(), 4);
    put(dims.data(), dims.size(), 8);
    put(buffers.data(), buffers.size(), sizeof(format::Buffer));
    put(launches.data(), launches.size(), sizeof(format::Launch));
    put(modules.data(), modules.size(), sizeof(format::Module));
    put(images.data(), images.size(), sizeof(format::Image));
    put(prologue.data(), prologue.size(), sizeof(format::Launch));
    heads.insert(heads.end(), body.begin(), body.end());
    return heads;
  }
};

struct Part {
  uint32_t kind, flags;
  std::vector<uint8_t> bytes;
};

// A file of segments with right checksums.
inline std::vector<uint8_t> file(const std::vector<Part>& parts) {
  std::vector<format::Segment> table;
  const size_t head = sizeof(format::Header) + parts.size() * sizeof(format::Segment);
  std::vector<uint8_t> body;
  for (const Part& part : parts) {
    body.resize((head + body.size() + format::kPage - 1) / format::kPage * format::kPage - head);
    table.push_back({part.kind, part.flags, head + body.size(), part.bytes.size(),
                     tw::crc32(part.bytes.data(), part.bytes.size()), 0});
    body.insert(body.end(), part.bytes.begin(), part.bytes.end());
  }
  format::Header header{};
  memcpy(header.magic, format::kMagic, sizeof header.magic);
  header.major = format::kMajor;
  header.header_bytes = sizeof header;
  header.file_bytes = head + body.size();
  header.segment_count = uint32_t(parts.size());
  header.segment_stride = sizeof(format::Segment);
  auto join = [&] {
    std::vector<uint8_t> bytes;
    append(&bytes, header);
    for (const format::Segment& segment : table) append(&bytes, segment);
    return bytes;
  };
  std::vector<uint8_t> bytes = join();
  header.crc = tw::crc32(bytes.data(), bytes.size());
  bytes = join();
  bytes.insert(bytes.end(), body.begin(), body.end());
  return bytes;
}

inline std::vector<uint8_t> file(const Tables& tables) {
  return file(std::vector<Part>{{format::kPlan, format::kRequired, tables.plan()},
                                {format::kMetadata, 0, {'{', '}'}},
                                {format::kCode, format::kRequired, {}},
                                {format::kConstants, format::kRequired, tables.constants}});
}

// x -> t -> y by copies alone: runs on the cpu back end without any kernel.
inline Tables copying(uint64_t floats = 8) {
  Tables tables;
  tables.header.target = tables.string("cpu");
  tables.header.backend = tables.string("cpu");
  tables.header.arena_bytes = (floats * 4 + 511) / 256 * 256;
  uint32_t x = tables.buffer("x", format::kInput, floats),
           t = tables.buffer("t", format::kArena, floats, 256 * (floats == 8));
  uint32_t y = tables.buffer("y", format::kOutput, floats);
  tables.buffer("w", format::kConstant, 8, 256);
  tables.header.inputs_first = tables.list({x});
  tables.header.inputs_count = 1;
  tables.header.outputs_first = tables.list({y});
  tables.header.outputs_count = 1;
  tables.copy(x, t, "first");
  tables.copy(t, y, "second");
  return tables;
}

// 32 bytes as an entropy coder leaves them that it cannot shorten.
inline std::vector<uint8_t> stored(const float (&values)[8]) {
  std::vector<uint8_t> bytes{0};
  append(&bytes, values);
  return bytes;
}

// Zeros, any number of them: symbol 0 has all the frequency, so it costs no bits.
inline std::vector<uint8_t> zeros() {
  std::vector<uint8_t> bytes{1, 8, 1, 0, 0x80, 0x80};
  bytes.resize(bytes.size() + 255);
  append(&bytes, uint32_t{1} << 16);
  return bytes;
}

// w (8 floats, coded) -> temporary -> static at load; x is ignored, static -> y at run. `bytes` is w in the file.
inline Tables loading(const std::vector<uint8_t>& bytes) {
  Tables tables;
  tables.header.target = tables.string("cpu");
  tables.header.backend = tables.string("cpu");
  tables.header.static_bytes = 512;
  tables.header.temporary_bytes = 256;
  uint32_t x = tables.buffer("x", format::kInput, 1), y = tables.buffer("y", format::kOutput, 8);
  uint32_t w = tables.coded("w", 8, bytes), t = tables.buffer("t", format::kTemporary, 8, 0);
  uint32_t s = tables.buffer("s", format::kStatic, 8, 256);
  tables.header.inputs_first = tables.list({x});
  tables.header.inputs_count = 1;
  tables.header.outputs_first = tables.list({y});
  tables.header.outputs_count = 1;
  tables.copy(s, y, "second");
  tables.copy(w, t, "early", true);
  tables.copy(t, s, "early too", true);
  return tables;
}

}  // namespace maker
