// The C boundary: arguments in, exceptions to status codes out.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string>

#include "failure.h"
#include "session.h"

struct tw_session {
  tw::Session session;
};

namespace {

thread_local char last_error[4096];

// Runs body and turns what it throws into a status.
template <typename Body>
tw_status guarded(Body body) {
  try {
    body();
    return TW_OK;
  } catch (const tw::Error& error) {
    tw::copy_text(last_error, sizeof last_error, error.text.c_str());
    return error.status;
  } catch (const std::bad_alloc&) {
    tw::copy_text(last_error, sizeof last_error, "out of memory");
    return TW_MEMORY;
  } catch (...) {
    tw::copy_text(last_error, sizeof last_error, "internal error");
    return TW_DEVICE;
  }
}

void need(const void* pointer, const char* name) {
  if (!pointer) tw::fail(TW_USAGE, "%s is NULL", name);
}

// Copies a struct from a caller that may know fewer (or more) of its fields.
template <typename T>
T read_struct(const T* given, const T& defaults) {
  T result = defaults;
  if (given) {
    if (given->struct_bytes < sizeof(uint32_t) * 2) tw::fail(TW_USAGE, "struct_bytes is %u", given->struct_bytes);
    memcpy(&result, given, std::min<size_t>(given->struct_bytes, sizeof result));
  }
  return result;
}

std::string default_cache_dir() {
  if (const char* dir = getenv("TILEWRIGHT_CACHE_DIR")) return dir;
  if (const char* dir = getenv("XDG_CACHE_HOME")) return dir + std::string("/tilewright");
  if (const char* home = getenv("HOME")) return home + std::string("/.cache/tilewright");
  return "";
}

tw::Options read_options(const tw_options* given) {
  tw_options defaults;
  tw_options_init(&defaults);
  tw_options in = read_struct(given, defaults);
  if (in.threads < 0 || in.threads > 1024) tw::fail(TW_USAGE, "threads is %d, not 0..1024", in.threads);
  if (in.flags & ~(TW_TRUSTED | TW_PROFILE | TW_REJECT_NAN)) tw::fail(TW_USAGE, "unknown flags %u", in.flags);
  tw::Options out;
  out.threads = in.threads;
  out.checksums = !(in.flags & TW_TRUSTED);
  out.profile = in.flags & TW_PROFILE;
  out.reject_nan = in.flags & TW_REJECT_NAN;
  out.device = in.device ? in.device : "";
  out.cache_dir = in.cache_dir ? in.cache_dir : default_cache_dir();
  out.memory_limit = in.memory_limit;
  return out;
}

void describe(const tw_session* session, const std::vector<uint32_t>& indices, size_t index, tw_tensor* tensor) {
  if (index >= indices.size()) tw::fail(TW_USAGE, "tensor %zu of %zu", index, indices.size());
  const tw::Buffer& buffer = session->session.artifact().buffers[indices[index]];
  *tensor = {buffer.name, buffer.shape.data, static_cast<uint32_t>(buffer.shape.size), buffer.dtype, buffer.nbytes};
}

}  // namespace

extern "C" {

uint32_t tw_api_version(void) { return TW_API_VERSION; }

const char* tw_last_error(void) { return last_error; }

void tw_options_init(tw_options* options) {
  *options = {};
  options->struct_bytes = sizeof *options;
  options->threads = 1;
}

tw_status tw_load(const void* bytes, size_t nbytes, const tw_options* options, tw_session** session) {
  return guarded([&] {
    need(session, "session");
    *session = nullptr;
    need(bytes, "bytes");
    tw::Bytes view{static_cast<const uint8_t*>(bytes), nbytes};
    *session = new tw_session{tw::Session(tw::FileMap(), view, read_options(options))};
  });
}

tw_status tw_load_file(const char* path, const tw_options* options, tw_session** session) {
  return guarded([&] {
    need(session, "session");
    *session = nullptr;
    need(path, "path");
    tw::FileMap file(path);
    tw::Bytes view = file.bytes();
    try {
      *session = new tw_session{tw::Session(std::move(file), view, read_options(options))};
    } catch (tw::Error& error) {
      error.text = path + (": " + error.text);
      throw;
    }
  });
}

void tw_free(tw_session* session) { delete session; }

size_t tw_input_count(const tw_session* session) { return session ? session->session.artifact().inputs.size() : 0; }

size_t tw_output_count(const tw_session* session) { return session ? session->session.artifact().outputs.size() : 0; }

tw_status tw_input(const tw_session* session, size_t index, tw_tensor* tensor) {
  return guarded([&] {
    need(session, "session");
    need(tensor, "tensor");
    describe(session, session->session.artifact().inputs, index, tensor);
  });
}

tw_status tw_output(const tw_session* session, size_t index, tw_tensor* tensor) {
  return guarded([&] {
    need(session, "session");
    need(tensor, "tensor");
    describe(session, session->session.artifact().outputs, index, tensor);
  });
}

const char* tw_metadata(const tw_session* session, size_t* nbytes) {
  tw::Bytes text = session ? session->session.artifact().metadata : tw::Bytes{};
  if (nbytes) *nbytes = text.size;
  return reinterpret_cast<const char*>(text.data);
}

tw_status tw_run(tw_session* session, const tw_buffer* inputs, size_t input_count, const tw_buffer* outputs,
                 size_t output_count) {
  return guarded([&] {
    need(session, "session");
    if (input_count) need(inputs, "inputs");
    if (output_count) need(outputs, "outputs");
    session->session.run(inputs, input_count, outputs, output_count);
  });
}

tw_status tw_selftest(tw_session* session, double* error, double* tolerance) {
  return guarded([&] {
    need(session, "session");
    double ignored;
    session->session.selftest(error ? error : &ignored, tolerance ? tolerance : &ignored);
  });
}

tw_status tw_profile_enable(tw_session* session, int on) {
  return guarded([&] {
    need(session, "session");
    session->session.set_profiling(on != 0);
  });
}

size_t tw_profile_count(const tw_session* session) { return session ? session->session.artifact().launches.size() : 0; }

tw_status tw_profile(const tw_session* session, size_t index, tw_profile_entry* entry) {
  return guarded([&] {
    need(session, "session");
    need(entry, "entry");
    session->session.profile(index, entry);
  });
}

tw_status tw_trace_write(const tw_session* session, const char* path) {
  return guarded([&] {
    need(session, "session");
    need(path, "path");
    session->session.write_trace(path);
  });
}

tw_status tw_session_stats(const tw_session* session, tw_stats* stats) {
  return guarded([&] {
    need(session, "session");
    need(stats, "stats");
    tw_stats all{};
    session->session.stats(&all);
    all.struct_bytes = stats->struct_bytes;
    memcpy(stats, &all, std::min<size_t>(stats->struct_bytes, sizeof all));
  });
}

const char* tw_session_target(const tw_session* session) { return session ? session->session.artifact().target : ""; }

const char* tw_session_device(const tw_session* session) { return session ? session->session.device().c_str() : ""; }

tw_status tw_device(size_t index, tw_device_info* info) {
  return guarded([&] {
    need(info, "info");
    std::vector<tw_device_info> devices;
    tw::list_cpu_devices(&devices);
    tw::list_opencl_devices(&devices);
    tw::list_cuda_devices(&devices);
    if (index >= devices.size()) tw::fail(TW_USAGE, "device %zu of %zu", index, devices.size());
    *info = devices[index];
  });
}

}  // extern "C"
