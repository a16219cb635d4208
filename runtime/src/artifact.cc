#include "artifact.h"

#include <algorithm>
#include <cstring>
#include <string_view>

#include "checked.h"
#include "utf8.h"

namespace tw {
namespace {

constexpr struct {
  const char* name;
  uint64_t nbytes;
} kDtypes[] = {{"bool", 1},   {"int8", 1},  {"uint8", 1},  {"int16", 2},   {"uint16", 2},  {"int32", 4},
               {"uint32", 4}, {"int64", 8}, {"uint64", 8}, {"float16", 2}, {"float32", 4}, {"float64", 8}};
constexpr size_t kDtypeCount = sizeof kDtypes / sizeof *kDtypes;
static_assert(kDtypeCount == TW_FLOAT64 + 1);

struct Range {
  uint32_t first, count;
};

// One table of the PLAN segment. Entries may be longer than T in files of a later minor version, and shorter in
// those of an earlier one: then the rest is zero.
struct TableView {
  Bytes bytes;
  uint32_t count = 0, stride = 0;

  template <typename T>
  T at(uint32_t index) const {
    T entry{};
    memcpy(&entry, bytes.data + uint64_t{index} * stride, std::min<size_t>(stride, sizeof entry));
    return entry;
  }
};

class Parser {
 public:
  Parser(Bytes file, bool checksums) : segments_(split(file, checksums)) {}

  Artifact run() {
    out_.metadata = segment(format::kMetadata);
    out_.constants = segment(format::kConstants);
    if (!is_utf8(out_.metadata.data, out_.metadata.size)) TW_BAD("metadata is not UTF-8");
    read_tables();
    read_strings();
    copy_numbers();
    out_.target = string(header_.target);
    out_.backend = string(header_.backend);
    out_.arena_bytes = header_.arena_bytes;
    out_.scratch_bytes = header_.scratch_bytes;
    out_.static_bytes = header_.static_bytes;
    out_.temporary_bytes = header_.temporary_bytes;
    Span<uint32_t> inputs = list({header_.inputs_first, header_.inputs_count});
    Span<uint32_t> outputs = list({header_.outputs_first, header_.outputs_count});
    out_.inputs.assign(inputs.begin(), inputs.end());
    out_.outputs.assign(outputs.begin(), outputs.end());
    for (uint32_t i = 0; i < tables_[format::kBuffers].count; ++i) read_buffer(i);
    check_ends(out_.inputs, format::kInput, "input");
    check_ends(out_.outputs, format::kOutput, "output");
    read_launches(format::kLaunches, &out_.launches);
    for (uint32_t i = 0; i < tables_[format::kModules].count; ++i) read_module(i);
    read_launches(format::kPrologue, &out_.prologue);
    if (segment(format::kSelftest).data) read_selftest();
    out_.expanded = std::move(segments_.expanded);
    return std::move(out_);
  }

 private:
  Bytes segment(format::SegmentKind kind) const { return segments_.by_kind[kind]; }

  void read_tables() {
    static const size_t kLeast[format::kTables] = {1,
                                                   sizeof(format::String),
                                                   4,
                                                   8,
                                                   format::kBufferBytes10,
                                                   sizeof(format::Launch),
                                                   sizeof(format::Module),
                                                   sizeof(format::Image),
                                                   sizeof(format::Launch)};
    Bytes plan = segment(format::kPlan);
    if (plan.size < format::kPlanHeaderBytes10) TW_BAD("plan segment too short");
    memcpy(&header_, plan.data, format::kPlanHeaderBytes10);
    const uint32_t tables = std::min<uint32_t>(header_.table_count, format::kTables);
    if (header_.header_bytes < format::kPlanHeaderBytes10 || tables < format::kTables10 ||
        !fits(header_.header_bytes, tables * sizeof(format::Table), plan.size))
      TW_BAD("plan header too short");
    memcpy(&header_, plan.data, std::min<size_t>(header_.header_bytes, sizeof header_));
    for (uint32_t kind = 0; kind < tables; ++kind) {
      format::Table table;
      memcpy(&table, plan.data + header_.header_bytes + kind * sizeof table, sizeof table);
      uint64_t nbytes = mul(table.count, table.stride);
      if (table.stride < kLeast[kind] || !fits(table.offset, nbytes, plan.size))
        TW_BAD("plan table %u out of range", kind);
      tables_[kind] = {{plan.data + table.offset, static_cast<size_t>(nbytes)}, table.count, table.stride};
    }
  }

  // Strings follow one another in the blob, so checking them all is linear.
  void read_strings() {
    const TableView& blob = tables_[format::kBlob];
    const TableView& table = tables_[format::kStrings];
    if (blob.stride != 1) TW_BAD("plan table 0 has wide bytes");
    out_.strings.reserve(table.count);
    uint64_t end = 0;
    for (uint32_t i = 0; i < table.count; ++i) {
      auto entry = table.at<format::String>(i);
      if (entry.offset < end || !fits(entry.offset, uint64_t{entry.length} + 1, blob.count) ||
          blob.bytes[entry.offset + size_t{entry.length}] != 0 ||
          memchr(blob.bytes.data + entry.offset, 0, entry.length) ||
          !is_utf8(blob.bytes.data + entry.offset, entry.length))
        TW_BAD("string %u is out of range or not text", i);
      end = uint64_t{entry.offset} + entry.length + 1;
      out_.strings.push_back(reinterpret_cast<const char*>(blob.bytes.data + entry.offset));
    }
  }

  // The file may lie at any address, so numbers that stay in use are copied to aligned memory.
  void copy_numbers() {
    const TableView& indices = tables_[format::kIndices];
    const TableView& dims = tables_[format::kDims];
    out_.indices.resize(indices.count);
    for (uint32_t i = 0; i < indices.count; ++i) out_.indices[i] = indices.at<uint32_t>(i);
    out_.dims.resize(dims.count);
    for (uint32_t i = 0; i < dims.count; ++i) out_.dims[i] = dims.at<uint64_t>(i);
  }

  const char* string(uint32_t index) const {
    if (index >= out_.strings.size()) TW_BAD("string %u does not exist", index);
    return out_.strings[index];
  }

  // Lists follow one another in the index table, so walking them all is linear.
  Span<uint32_t> list(Range range) {
    if (range.first < list_end_ || !fits(range.first, range.count, out_.indices.size()))
      TW_BAD("a list of indices is out of place");
    list_end_ = uint64_t{range.first} + range.count;
    return {out_.indices.data() + range.first, range.count};
  }

  void read_buffer(uint32_t index) {
    auto entry = tables_[format::kBuffers].at<format::Buffer>(index);
    const char* name = string(entry.name);
    if (entry.kind >= format::kBufferKinds)
      fail(TW_ARTIFACT, "buffer %u is of kind %u, which this runtime does not know: update the runtime", index,
           entry.kind);
    if (entry.dtype >= kDtypeCount) TW_BAD("buffer %u has dtype %u", index, entry.dtype);
    if (entry.storage >= format::kStorages)
      fail(TW_ARTIFACT, "weights stored as form %u: update the runtime", entry.storage);
    const bool coded = entry.storage != format::kRaw;
    if (coded && entry.kind != format::kConstant) TW_BAD("buffer %u is coded and no constant", index);
    if (entry.rank > format::kMaxRank || !fits(entry.dims, entry.rank, out_.dims.size()))
      TW_BAD("buffer %u has a bad shape", index);
    Span<uint64_t> shape{out_.dims.data() + entry.dims, entry.rank};
    uint64_t nbytes = kDtypes[entry.dtype].nbytes;
    for (uint64_t dim : shape) nbytes = mul(nbytes, dim);
    if (nbytes != entry.nbytes || nbytes > INT64_MAX) TW_BAD("buffer %u is not as large as its shape", index);
    auto kind = static_cast<format::BufferKind>(entry.kind);
    Bytes stored;
    if (const uint64_t* room = arena_of(kind)) {
      if (!fits(entry.offset, nbytes, *room) || entry.offset % format::kArenaAlignment)
        TW_BAD("buffer %u lies outside the arena or is not aligned in it", index);
    } else if (kind == format::kConstant) {
      const uint64_t taken = coded ? entry.file_bytes : nbytes;
      if (!fits(entry.offset, taken, out_.constants.size) || (!coded && entry.offset % format::kArenaAlignment))
        TW_BAD("buffer %u lies outside the constants or is not aligned in them", index);
      stored = {out_.constants.data + entry.offset, static_cast<size_t>(taken)};
    }
    const auto dtype = static_cast<tw_dtype>(entry.dtype);
    if (entry.texel_buffer && !has_texels(kind, dtype, nbytes)) TW_BAD("buffer %u is no texel buffer", index);
    out_.buffers.push_back({name, kind, dtype, shape, entry.offset, nbytes, coded, stored, entry.texel_buffer != 0});
  }

  static bool has_texels(format::BufferKind kind, tw_dtype dtype, uint64_t nbytes) {
    const bool type = dtype == TW_FLOAT32 || dtype == TW_FLOAT16 || dtype == TW_INT32 || dtype == TW_UINT32;
    const bool known = kind == format::kConstant || kind == format::kStatic;
    return type && known && nbytes && nbytes % (kDtypes[dtype].nbytes * format::kTexel) == 0;
  }

  // The size of the arena that buffers of a kind lie in; null for kinds outside of arenas.
  const uint64_t* arena_of(format::BufferKind kind) const {
    if (kind == format::kArena) return &header_.arena_bytes;
    if (kind == format::kStatic) return &header_.static_bytes;
    return kind == format::kTemporary ? &header_.temporary_bytes : nullptr;
  }

  // Inputs (or outputs) are exactly the buffers of that kind, each once, under different names.
  void check_ends(const std::vector<uint32_t>& listed, format::BufferKind kind, const char* label) const {
    size_t held = 0;
    for (const Buffer& buffer : out_.buffers) held += buffer.kind == kind;
    std::vector<std::string_view> names;
    for (uint32_t index : listed) {
      if (index >= out_.buffers.size() || out_.buffers[index].kind != kind) TW_BAD("%s %u is not one", label, index);
      names.push_back(out_.buffers[index].name);
    }
    std::sort(names.begin(), names.end());
    bool twice = std::adjacent_find(names.begin(), names.end()) != names.end();
    if (twice || held != listed.size()) TW_BAD("%ss are not listed once each under their own names", label);
  }

  void read_launches(format::TableKind table, std::vector<Launch>* launches) {
    for (uint32_t i = 0; i < tables_[table].count; ++i)
      launches->push_back(read_launch(i, tables_[table].at<format::Launch>(i), table == format::kPrologue));
  }

  Launch read_launch(uint32_t index, const format::Launch& entry, bool at_load) {
    Launch launch{string(entry.kernel), entry.module, {}, {}, {}, {}};
    launch.args = list({entry.args_first, entry.args_count});
    launch.layers = list({entry.layers_first, entry.layers_count});
    for (int axis = 0; axis < 3; ++axis) {
      launch.grid[axis] = entry.grid[axis];
      launch.block[axis] = entry.block[axis];
      if (entry.grid[axis] - 1 >= INT32_MAX || entry.block[axis] - 1 >= INT32_MAX)
        TW_BAD("launch %u has a grid or block of zero or too large", index);
    }
    for (uint32_t arg : launch.args) {
      if (arg >= out_.buffers.size()) TW_BAD("launch %u takes buffer %u, which does not exist", index, arg);
      const format::BufferKind kind = out_.buffers[arg].kind;
      const bool known = kind == format::kConstant || kind == format::kStatic;
      if (at_load ? !known && kind != format::kTemporary : kind == format::kTemporary)
        TW_BAD("launch %u takes buffer %u, which it does not have at that time", index, arg);
    }
    for (uint32_t layer : launch.layers) string(layer);
    if (launch.module == format::kCopy) {
      if (launch.args.size != 2) TW_BAD("launch %u copies %zu buffers", index, launch.args.size);
      const Buffer &from = out_.buffers[launch.args[0]], &to = out_.buffers[launch.args[1]];
      const bool only_read =
          to.kind == format::kInput || to.kind == format::kConstant || (to.kind == format::kStatic && !at_load);
      if (from.nbytes != to.nbytes || only_read)
        TW_BAD("launch %u copies into a buffer of another size or one that is only read", index);
    } else if (launch.module < 0 || static_cast<uint32_t>(launch.module) >= tables_[format::kModules].count) {
      TW_BAD("launch %u uses module %d, which does not exist", index, launch.module);
    }
    return launch;
  }

  void read_module(uint32_t index) {
    auto entry = tables_[format::kModules].at<format::Module>(index);
    if (entry.images_first < image_end_ || entry.images_count == 0 ||
        !fits(entry.images_first, entry.images_count, tables_[format::kImages].count))
      TW_BAD("module %u has no images, or images out of place", index);
    image_end_ = uint64_t{entry.images_first} + entry.images_count;
    Module module{string(entry.name), {}};
    for (uint32_t i = 0; i < entry.images_count; ++i) module.images.push_back(read_image(entry.images_first + i));
    out_.modules.push_back(std::move(module));
  }

  Image read_image(uint32_t index) {
    auto entry = tables_[format::kImages].at<format::Image>(index);
    Bytes code = segment(format::kCode);
    if (!fits(entry.offset, entry.nbytes, code.size)) TW_BAD("image %u lies outside the code", index);
    Image image{string(entry.kind), string(entry.arch), string(entry.options), {}, {}};
    for (uint32_t feature : list({entry.features_first, entry.features_count}))
      image.features.push_back(string(feature));
    image.data = {code.data + entry.offset, static_cast<size_t>(entry.nbytes)};
    return image;
  }

  void read_selftest() {
    Bytes body = segment(format::kSelftest);
    format::Selftest head;
    if (body.size < sizeof head) TW_BAD("selftest segment too short");
    memcpy(&head, body.data, sizeof head);
    if (head.header_bytes < sizeof head || head.cases != 1) TW_BAD("selftest of %u cases", head.cases);
    uint64_t end = head.header_bytes;
    auto take = [&](const std::vector<uint32_t>& indices, std::vector<Bytes>* tensors) {
      for (uint32_t index : indices) {
        uint64_t offset = align(end, format::kTensorAlignment), nbytes = out_.buffers[index].nbytes;
        if (!fits(offset, nbytes, body.size)) TW_BAD("selftest segment too short");
        tensors->push_back({body.data + offset, static_cast<size_t>(nbytes)});
        end = offset + nbytes;
      }
    };
    take(out_.inputs, &out_.selftest.inputs);
    take(out_.outputs, &out_.selftest.outputs);
    out_.selftest.tolerance = head.tolerance;
  }

  Segments segments_;
  Artifact out_{};
  format::PlanHeader header_{};
  TableView tables_[format::kTables];
  uint64_t list_end_ = 0, image_end_ = 0;
};

}  // namespace

Artifact parse(Bytes file, bool checksums) { return Parser(file, checksums).run(); }

uint64_t item_bytes(tw_dtype dtype) { return kDtypes[dtype].nbytes; }
const char* dtype_name(tw_dtype dtype) { return kDtypes[dtype].name; }

std::string Artifact::layers(const Launch& launch) const {
  constexpr size_t kMost = 400;
  std::string text;
  for (uint32_t layer : launch.layers) {
    if (!text.empty()) text += ", ";
    std::string_view name = strings[layer];
    if (text.size() + name.size() > kMost) return text + "...";
    text += name;
  }
  return text;
}

std::string Artifact::describe(const Launch& launch) const {
  std::string text = launch.module == format::kCopy ? "copy" : "kernel '" + std::string(launch.kernel) + "'";
  return launch.layers.size ? text + " (" + layers(launch) + ")" : text;
}

}  // namespace tw
