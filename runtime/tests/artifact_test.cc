// The loader against good, damaged and hostile files.
#include "artifact.h"

#include <memory>

#include "check.h"
#include "maker.h"
#include "utf8.h"

namespace {

using maker::Tables;
namespace format = tw::format;

// From an exact-size heap block, so that AddressSanitizer sees any read past the end.
std::string parse_error(const std::vector<uint8_t>& bytes, bool checksums = true) {
  std::unique_ptr<uint8_t[]> exact(new uint8_t[bytes.size()]);
  std::copy(bytes.begin(), bytes.end(), exact.get());
  return error_of([&] { tw::parse({exact.get(), bytes.size()}, checksums); });
}

template <typename Change>
std::string broken(Change change) {
  Tables tables = maker::copying();
  change(&tables);
  return parse_error(maker::file(tables));
}

bool says(const std::string& text, const char* part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST(crc32_is_zlibs) {
  // Check values of the CRC catalogue (CRC-32/ISO-HDLC) and of one longer than a slice, from Python's
  // zlib.crc32.
  CHECK(tw::crc32("123456789", 9) == 0xCBF43926u);
  CHECK(tw::crc32("", 0) == 0);
  std::string text(1000, 'a');
  uint32_t whole = tw::crc32(text.data(), text.size());
  for (size_t cut : {1u, 7u, 8u, 9u, 500u})
    CHECK(tw::crc32(text.data() + cut, text.size() - cut, tw::crc32(text.data(), cut)) == whole);
}

TEST(utf8_accepts_text_only) {
  auto valid = [](const char* text) { return tw::is_utf8(reinterpret_cast<const uint8_t*>(text), strlen(text)); };
  for (const char* good : {"", "conv_1/Relu:0", "\xC3\xA9", "\xE2\x82\xAC", "\xF0\x9F\x98\x80", "\xF4\x8F\xBF\xBF"})
    CHECK(valid(good));
  for (const char* bad : {"\x80", "\xC3", "\xC0\x80", "\xE0\x80\x80", "\xED\xA0\x80", "\xF4\x90\x80\x80",
                          "\xF8\x88\x80\x80\x80", "\xC3("})
    CHECK(!valid(bad));
}

TEST(a_good_file_parses) {
  std::vector<uint8_t> bytes = maker::file(maker::copying());
  tw::Artifact artifact = tw::parse({bytes.data(), bytes.size()});
  CHECK(std::string(artifact.target) == "cpu");
  CHECK(artifact.buffers.size() == 4 && artifact.buffers[1].nbytes == 32 && artifact.buffers[1].offset == 256);
  CHECK(artifact.inputs == std::vector<uint32_t>{0} && artifact.outputs == std::vector<uint32_t>{2});
  CHECK(artifact.launches.size() == 2 && artifact.layers(artifact.launches[1]) == "second");
  CHECK(artifact.describe(artifact.launches[1]) == "copy (second)");
  CHECK(artifact.selftest.outputs.empty());
}

TEST(every_truncation_is_refused) {
  std::vector<uint8_t> bytes = maker::file(maker::copying());
  for (size_t size = 0; size < bytes.size(); size += size < 8192 ? 1 : 61) {
    std::vector<uint8_t> part(bytes.begin(), bytes.begin() + long(size));
    CHECK(!parse_error(part).empty());
  }
  bytes.push_back(0);
  CHECK(!parse_error(bytes).empty());
}

TEST(every_flipped_bit_is_refused) {
  const std::vector<uint8_t> bytes = maker::file(maker::copying());
  const size_t stop = format::kPage + maker::copying().plan().size();  // header, padding, plan
  std::vector<uint8_t> copy = bytes;
  for (size_t i = 0; i < stop; ++i)
    for (int bit = 0; bit < 8; ++bit) {
      copy[i] ^= uint8_t(1 << bit);
      CHECK(!error_of([&] { tw::parse({copy.data(), copy.size()}); }).empty());
      copy[i] = bytes[i];
    }
}

TEST(any_byte_without_checksums_never_crashes) {
  const std::vector<uint8_t> bytes = maker::file(maker::copying());
  const size_t stop = format::kPage + maker::copying().plan().size();
  std::vector<uint8_t> copy = bytes;
  int refused = 0;
  for (size_t i = 0; i < stop; i = i == 255 ? format::kPage : i + 1)
    for (int value : {0, 1, 2, 0x7F, 0x80, 0xFF}) {
      copy[i] = uint8_t(value);
      refused += !error_of([&] { tw::parse({copy.data(), copy.size()}, false); }).empty();
      copy[i] = bytes[i];
    }
  CHECK(refused > 500);
}

TEST(hostile_tables_are_refused) {
  using T = Tables*;
  CHECK(broken([](T) {}).empty());
  CHECK(says(broken([](T t) { t->buffers[1].dtype = 12; }), "dtype 12"));
  CHECK(says(broken([](T t) { t->buffers[1].kind = 6; }), "kind 6"));
  CHECK(says(broken([](T t) { t->buffers[1].storage = 2; }), "update the runtime"));
  CHECK(says(broken([](T t) { t->buffers[1].rank = 33; }), "bad shape"));
  CHECK(says(broken([](T t) { t->buffers[1].dims = 4; }), "bad shape"));
  CHECK(says(broken([](T t) { t->dims[1] = UINT64_MAX; }), "overflows"));
  CHECK(says(broken([](T t) { t->dims[1] = 9; }), "not as large"));
  CHECK(says(broken([](T t) { t->buffers[1].offset = 512; }), "outside the arena"));
  CHECK(says(broken([](T t) { t->buffers[1].offset = UINT64_MAX - 255; }), "outside the arena"));
  CHECK(says(broken([](T t) { t->buffers[1].offset = 4; }), "not aligned"));
  CHECK(says(broken([](T t) { t->buffers[3].offset = 1024; }), "outside the constants"));
  CHECK(says(broken([](T t) { t->buffers[3].offset = 100; }), "not aligned"));
  CHECK(says(broken([](T t) { t->header.arena_bytes = 256; }), "outside the arena"));
  CHECK(says(broken([](T t) { t->header.target = 99; }), "string 99"));
  CHECK(says(broken([](T t) { t->header.inputs_count = 2; }), "out of place"));
  CHECK(says(broken([](T t) { t->header.inputs_count = 0; }), "inputs are not listed"));
  CHECK(says(broken([](T t) { t->indices[0] = 1; }), "input 1"));
  CHECK(says(broken([](T t) { t->indices[0] = 77; }), "input 77"));
  CHECK(says(broken([](T t) { t->header.outputs_first = 0; }), "out of place"));
  CHECK(says(broken([](T t) { t->strings[1].offset = 0; }), "string 1"));
  CHECK(says(broken([](T t) { t->strings[1].length = 1u << 31; }), "string 1"));
  CHECK(says(broken([](T t) { t->blob[0] = 0xFF; }), "string 0"));
  CHECK(says(broken([](T t) { t->blob[1] = 0; }), "string 0"));
  CHECK(says(broken([](T t) { t->launches[0].grid[2] = 0; }), "grid"));
  CHECK(says(broken([](T t) { t->launches[0].block[0] = 0x80000000u; }), "grid"));
  CHECK(says(broken([](T t) { t->launches[0].module = 0; }), "module 0"));
  CHECK(says(broken([](T t) { t->launches[0].module = -2; }), "module -2"));
  CHECK(says(broken([](T t) { t->launches[0].args_count = 1u << 30; }), "out of place"));
  CHECK(says(broken([](T t) { t->launches[1].args_first = 0; }), "out of place"));
  CHECK(says(broken([](T t) { t->indices[3] = 50; }), "buffer 50"));
  CHECK(says(broken([](T t) { t->indices[3] = 0; }), "only read"));
  CHECK(says(broken([](T t) { t->modules.push_back({0, 0, 0, 0}); }), "no images"));
  CHECK(says(broken([](T t) { t->modules.push_back({0, 0, 1, 0}); }), "images out of place"));
  CHECK(says(broken([](T t) {
               t->modules.push_back({0, 0, 1, 0});
               t->images.push_back({0, 0, 0, uint32_t(t->indices.size()), 0, 0, 1, UINT64_MAX});
             }),
             "outside the code"));
  CHECK(says(broken([](T t) { t->buffers.push_back(t->buffers[0]); }), "inputs are not listed"));
  CHECK(says(broken([](T t) { t->header.header_bytes = 0xFFFFFFF0u; }), "too short"));
  CHECK(says(broken([](T t) { t->header.table_count = 7; }), "too short"));
}

TEST(a_prologue_parses) {
  std::vector<uint8_t> bytes = maker::file(maker::loading(maker::zeros()));
  tw::Artifact artifact = tw::parse({bytes.data(), bytes.size()});
  CHECK(artifact.static_bytes == 512 && artifact.temporary_bytes == 256);
  CHECK(artifact.launches.size() == 1 && artifact.prologue.size() == 2);
  CHECK(artifact.layers(artifact.prologue[1]) == "early too");
  const tw::Buffer& constant = artifact.buffers[2];
  CHECK(constant.coded && constant.nbytes == 32 && constant.stored.size == maker::zeros().size());
  CHECK(constant.stored.data == artifact.constants.data + 1024);
}

TEST(hostile_prologues_are_refused) {
  using T = Tables*;
  auto broken = [](auto change) {
    Tables tables = maker::loading(maker::zeros());
    change(&tables);
    return parse_error(maker::file(tables));
  };
  enum { kX, kY, kW, kTemporary, kStatic };
  // inputs, outputs, then source, target and layer of: the run's copy, the first early one, the second
  enum { kSource = 2, kTarget, kEarlySource = 5, kEarlyTarget };
  CHECK(broken([](T) {}).empty());
  CHECK(says(broken([](T t) { t->header.static_bytes = 256; }), "outside the arena"));
  CHECK(says(broken([](T t) { t->header.temporary_bytes = 0; }), "outside the arena"));
  CHECK(says(broken([](T t) { t->buffers[kStatic].offset = 1; }), "not aligned"));
  CHECK(says(broken([](T t) { t->buffers[kStatic].storage = format::kEntropy; }), "no constant"));
  CHECK(says(broken([](T t) { t->buffers[kW].file_bytes += 1; }), "outside the constants"));
  CHECK(says(broken([](T t) { t->buffers[kW].file_bytes = UINT64_MAX; }), "outside the constants"));
  CHECK(says(broken([](T t) { t->buffers[kW].offset = UINT64_MAX; }), "outside the constants"));
  CHECK(says(broken([](T t) { t->indices[kSource] = kTemporary; }), "at that time"));
  CHECK(says(broken([](T t) { t->indices[kTarget] = kStatic; }), "only read"));
  CHECK(says(broken([](T t) { t->indices[kEarlySource] = kX; }), "at that time"));
  CHECK(says(broken([](T t) { t->indices[kEarlySource] = kY; }), "at that time"));
  CHECK(says(broken([](T t) { t->indices[kEarlyTarget] = kW; }), "only read"));
  CHECK(says(broken([](T t) { t->indices[kEarlyTarget] = 99; }), "buffer 99"));
  CHECK(says(broken([](T t) { t->prologue[0].module = 0; }), "module 0"));
  CHECK(says(broken([](T t) { t->prologue[1].args_first = 0; }), "out of place"));
}

TEST(containers_are_checked) {
  using maker::Part;
  const std::vector<uint8_t> plan = maker::copying().plan();
  auto with = [&](std::vector<Part> extra) {
    std::vector<Part> parts{{format::kPlan, 1, plan},
                            {format::kMetadata, 0, {'{', '}'}},
                            {format::kCode, 1, {}},
                            {format::kConstants, 1, std::vector<uint8_t>(1024)}};
    parts.insert(parts.end(), extra.begin(), extra.end());
    return parse_error(maker::file(parts));
  };
  CHECK(with({}).empty());
  CHECK(with({{77, 0, {1, 2, 3}}}).empty());  // unknown and optional
  CHECK(says(with({{77, 1, {1, 2, 3}}}), "segment kind 77"));
  CHECK(says(with({{format::kCode, 1, {}}}), "two code"));
  CHECK(says(with({{format::kSelftest, 0, {1}}}), "selftest"));
  CHECK(says(with({{format::kSelftest, 0, std::vector<uint8_t>(16)}}), "selftest"));
  CHECK(says(parse_error(maker::file({{format::kPlan, 1, plan}})), "no metadata segment"));
  CHECK(says(parse_error(maker::file(std::vector<Part>{})), "no plan segment"));
  CHECK(says(parse_error({'P', 'K', 3, 4}), "magic"));
}
