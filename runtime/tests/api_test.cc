// The C interface: sessions, concurrency, wrong use.
#include <cmath>
#include <thread>

#include "check.h"
#include "maker.h"
#include "nan_check.h"
#include "selftest.h"
#include "tilewright/tilewright.h"
#include "trace.h"

namespace {

bool error_says(const char* part) { return std::string(tw_last_error()).find(part) != std::string::npos; }

tw_session* load(const std::vector<uint8_t>& bytes, const tw_options* options = nullptr) {
  tw_session* session = nullptr;
  CHECK(tw_load(bytes.data(), bytes.size(), options, &session) == TW_OK);
  return session;
}

}  // namespace

TEST(a_session_copies_input_to_output) {
  std::vector<uint8_t> bytes = maker::file(maker::copying());
  for (size_t shift : {0, 1, 64}) {  // wherever the file lies in memory
    std::vector<uint8_t> moved(bytes.size() + shift);
    memcpy(moved.data() + shift, bytes.data(), bytes.size());
    tw_session* session = nullptr;
    CHECK(tw_load(moved.data() + shift, bytes.size(), nullptr, &session) == TW_OK);
    tw_tensor tensor;
    CHECK(tw_input_count(session) == 1 && tw_input(session, 0, &tensor) == TW_OK);
    CHECK(std::string(tensor.name) == "x" && tensor.rank == 1 && tensor.shape[0] == 8 && tensor.nbytes == 32);
    CHECK(tw_output(session, 1, &tensor) == TW_USAGE && error_says("tensor 1 of 1"));
    alignas(64) float x[40], y[40];
    for (size_t offset : {0, 1, 16}) {  // used in place, or staged
      for (int i = 0; i < 8; ++i) x[offset + i] = float(i), y[offset + i] = -1;
      tw_buffer in{x + offset, 32}, out{y + offset, 32};
      CHECK(tw_run(session, &in, 1, &out, 1) == TW_OK);
      CHECK(memcmp(x + offset, y + offset, 32) == 0);
    }
    tw_free(session);
  }
}

TEST(wrong_use_is_explained) {
  std::vector<uint8_t> bytes = maker::file(maker::copying());
  tw_session* session = load(bytes);
  float x[8] = {}, y[8];
  tw_buffer in{x, 32}, out{y, 32}, small{y, 28}, null{nullptr, 32};
  CHECK(tw_run(session, &in, 1, &small, 1) == TW_USAGE && error_says("output 'y' has 28 bytes, the model's has 32"));
  CHECK(tw_run(session, &in, 2, &out, 1) == TW_USAGE && error_says("2 inputs given, the model has 1"));
  CHECK(tw_run(session, &null, 1, &out, 1) == TW_USAGE && error_says("input 'x' is NULL"));
  CHECK(tw_run(session, nullptr, 1, &out, 1) == TW_USAGE && error_says("inputs is NULL"));
  CHECK(tw_run(nullptr, &in, 1, &out, 1) == TW_USAGE && error_says("session is NULL"));
  CHECK(tw_selftest(session, nullptr, nullptr) == TW_USAGE && error_says("no self-test"));
  CHECK(tw_trace_write(session, "/dev/null") == TW_USAGE && error_says("no profiled run"));
  tw_profile_entry entry;
  CHECK(tw_profile(session, 2, &entry) == TW_USAGE);
  tw_free(session);
  tw_free(nullptr);
  CHECK(tw_load(nullptr, 0, nullptr, &session) == TW_USAGE && session == nullptr);
  CHECK(tw_load_file("/nonexistent/model.tw", nullptr, &session) == TW_IO && error_says("/nonexistent/model.tw"));
  CHECK(tw_load_file("/", nullptr, &session) == TW_IO && error_says("not a regular file"));
  tw_options options;
  tw_options_init(&options);
  options.threads = -1;
  CHECK(tw_load(bytes.data(), bytes.size(), &options, &session) == TW_USAGE && error_says("threads"));
  options.threads = 1;
  options.device = "mali";
  CHECK(tw_load(bytes.data(), bytes.size(), &options, &session) == TW_DEVICE && error_says("mali"));
}

TEST(sizes_are_limited_before_they_are_allocated) {
  constexpr uint64_t kFloats = uint64_t{1} << 60;
  maker::Tables tables = maker::copying(kFloats);
  tables.header.arena_bytes = kFloats * 4;
  std::vector<uint8_t> bytes = maker::file(tables);
  tw_session* session = nullptr;
  CHECK(tw_load(bytes.data(), bytes.size(), nullptr, &session) != TW_OK && session == nullptr);
  bytes = maker::file(maker::copying());
  tw_options options;
  tw_options_init(&options);
  options.memory_limit = 1000;
  CHECK(tw_load(bytes.data(), bytes.size(), &options, &session) == TW_MEMORY && error_says("limit of 1000"));
}

TEST(weights_are_expanded_and_the_prologue_runs_at_load) {
  const float weights[8] = {1, -2, 3, -4, 5, -6, 7, -8}, none[8] = {};
  for (bool zero : {false, true}) {
    std::vector<uint8_t> bytes = maker::file(maker::loading(zero ? maker::zeros() : maker::stored(weights)));
    tw_session* session = load(bytes);
    float x = 0, y[8];
    tw_buffer in{&x, 4}, out{y, 32};
    for (int round = 0; round < 2; ++round) {
      std::fill(y, y + 8, 99.f);
      CHECK(tw_run(session, &in, 1, &out, 1) == TW_OK);
      CHECK(memcmp(y, zero ? none : weights, 32) == 0);
    }
    CHECK(tw_profile_count(session) == 1);
    tw_stats stats{};
    stats.struct_bytes = sizeof stats;
    CHECK(tw_session_stats(session, &stats) == TW_OK && stats.static_bytes == 512);
    tw_free(session);
  }
}

TEST(damaged_weights_are_refused_by_name) {
  std::vector<uint8_t> good = maker::zeros();
  tw_session* session = nullptr;
  for (size_t size = 0; size < good.size(); ++size) {
    std::vector<uint8_t> bytes = maker::file(maker::loading({good.begin(), good.begin() + long(size)}));
    CHECK(tw_load(bytes.data(), bytes.size(), nullptr, &session) == TW_ARTIFACT && error_says("constant 'w'"));
  }
}

TEST(a_few_bytes_cannot_become_too_many) {
  for (int which : {0, 1, 2}) {
    maker::Tables tables = maker::loading(maker::zeros());
    constexpr uint64_t kHuge = uint64_t{1} << 60;
    if (which == 0) {
      for (size_t index : {2, 3}) tables.buffers[index].nbytes = kHuge, tables.dims[index] = kHuge / 4;
      tables.header.temporary_bytes = kHuge;
      tables.indices[9] = 4;  // the second early copy leaves the static buffer as it is
      tables.indices[8] = 4;
    }
    if (which == 1) tables.header.static_bytes = kHuge;
    if (which == 2) tables.header.temporary_bytes = kHuge;
    std::vector<uint8_t> bytes = maker::file(tables);
    tw_session* session = nullptr;
    CHECK(tw_load(bytes.data(), bytes.size(), nullptr, &session) == TW_MEMORY && error_says("over the limit"));
  }
}

TEST(an_unknown_back_end_is_refused) {
  maker::Tables tables = maker::copying();
  tables.header.backend = tables.string("tpu");
  std::vector<uint8_t> bytes = maker::file(tables);
  tw_session* session = nullptr;
  CHECK(tw_load(bytes.data(), bytes.size(), nullptr, &session) == TW_DEVICE && error_says("tpu"));
}

TEST(sessions_run_concurrently_and_one_session_serialises) {
  std::vector<uint8_t> bytes = maker::file(maker::copying(1024));
  tw_session* sessions[] = {load(bytes), load(bytes)};
  tw_profile_enable(sessions[0], 1);
  std::vector<std::thread> threads;
  std::vector<int> wrong(4);
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      std::vector<float> x(1024, float(t + 1)), y(1024);
      tw_buffer in{x.data(), 4096}, out{y.data(), 4096};
      for (int round = 0; round < 200; ++round) {
        std::fill(y.begin(), y.end(), 0.f);
        if (tw_run(sessions[t % 2], &in, 1, &out, 1) != TW_OK || x != y) ++wrong[t];
      }
    });
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == std::vector<int>(4));
  tw_profile_entry entry;
  CHECK(tw_profile(sessions[0], 1, &entry) == TW_OK && entry.runs == 400);
  CHECK(std::string(entry.kernel) == "copy" && std::string(entry.layers) == "second");
  tw_stats stats{};
  stats.struct_bytes = sizeof stats;
  CHECK(tw_session_stats(sessions[1], &stats) == TW_OK && stats.runs == 400 && stats.threads == 1);
  for (tw_session* session : sessions) tw_free(session);
}

TEST(the_trace_escapes_names) {
  maker::Tables tables = maker::copying();
  tables.copy(0, 1, "a\"b\\c\n");
  std::vector<uint8_t> bytes = maker::file(tables);
  tw::Artifact artifact = tw::parse({bytes.data(), bytes.size()});
  std::string trace = tw::chrome_trace(artifact, "cpu", std::vector<tw::Timing>(3));
  CHECK(trace.find(R"("layers":"a\"b\\c\u000a")") != std::string::npos);
}

TEST(self_test_errors_are_relative) {
  const float want[] = {3, 4, 0}, close[] = {3, 4, 0.5f}, bad[] = {3, NAN, 0};
  tw::Bytes expected{reinterpret_cast<const uint8_t*>(want), sizeof want};
  CHECK(tw::relative_error(TW_FLOAT32, want, expected) == 0);
  CHECK(std::fabs(tw::relative_error(TW_FLOAT32, close, expected) - 0.1) < 1e-12);  // 0.5 / |(3, 4)|
  CHECK(std::isnan(tw::relative_error(TW_FLOAT32, bad, expected)));
  const uint16_t halves[] = {0x3C00, 0xC000, 0x0001, 0x7C00}, other[] = {0x3C00, 0xC000, 0x0001, 0x7BFF};
  tw::Bytes half{reinterpret_cast<const uint8_t*>(halves), sizeof halves};
  CHECK(tw::relative_error(TW_FLOAT16, halves, half) == 0);
  CHECK(!(tw::relative_error(TW_FLOAT16, other, half) <= 1));
}

TEST(nan_is_found_wherever_it_is) {
  for (size_t count : {0, 1, 3, 4, 5, 8, 31})
    for (size_t shift : {0, 1}) {
      std::vector<uint8_t> bytes(count * 8 + shift);
      auto check = [&](tw_dtype dtype, auto one, auto nan) {
        uint64_t nbytes = count * sizeof one;
        for (size_t i = 0; i < count; ++i) memcpy(bytes.data() + shift + i * sizeof one, &one, sizeof one);
        CHECK(!tw::has_nan(dtype, bytes.data() + shift, nbytes));
        for (size_t i = 0; i < count; ++i) {
          memcpy(bytes.data() + shift + i * sizeof one, &nan, sizeof nan);
          CHECK(tw::has_nan(dtype, bytes.data() + shift, nbytes));
          memcpy(bytes.data() + shift + i * sizeof one, &one, sizeof one);
        }
      };
      check(TW_FLOAT32, INFINITY, NAN);
      check(TW_FLOAT64, 1.0, std::nan(""));
      check(TW_FLOAT16, uint16_t{0x7C00}, uint16_t{0xFE00});
    }
  CHECK(!tw::has_nan(TW_INT32, "\xFF\xFF\xFF\x7F", 4));  // NaN's bits in an integer
}

TEST(nan_is_refused_on_request) {
  std::vector<uint8_t> bytes = maker::file(maker::copying());
  float x[8] = {0, 0, 0, NAN}, y[8];
  tw_buffer in{x, 32}, out{y, 32};
  tw_options options;
  tw_options_init(&options);
  for (bool reject : {false, true}) {
    options.flags = reject ? TW_REJECT_NAN : 0;
    tw_session* session = load(bytes, &options);
    CHECK(tw_run(session, &in, 1, &out, 1) == (reject ? TW_USAGE : TW_OK));
    CHECK(!reject || error_says("input 'x' holds NaN"));
    tw_free(session);
  }
}

TEST(devices_start_with_the_cpu) {
  tw_device_info info;
  CHECK(tw_device(0, &info) == TW_OK && std::string(info.backend) == "cpu");
  CHECK(tw_device(10000, &info) == TW_USAGE);
  CHECK(tw_api_version() == TW_API_VERSION);
}
