// Runs an artifact from the command line, on machines without Python. Tensors are raw little-endian files.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "tilewright/tilewright.h"

namespace {

const char* const kUsage =
    "usage: tw_run MODEL [options]\n"
    "  --input NAME=FILE    raw bytes of an input; may be repeated; inputs not given are zeros\n"
    "  --output NAME=FILE   where to write an output; may be repeated\n"
    "  --device NAME        number or part of a device's name\n"
    "  --threads N          cpu threads of one run; 0 is one per core (1)\n"
    "  --repeat N           run N times and print the median (1)\n"
    "  --profile            print the time of each kernel\n"
    "  --trace FILE         write a Chrome trace\n"
    "  --selftest           run the artifact's self-test instead\n"
    "  --devices            list devices and exit\n";

[[noreturn]] void die(const std::string& text) {
  fprintf(stderr, "tw_run: %s\n", text.c_str());
  exit(1);
}

void must(tw_status status) {
  if (status != TW_OK) die(tw_last_error());
}

// The file that "NAME=FILE" entries give for a tensor, "" if none.
std::string file_of(const std::vector<std::string>& entries, const char* name) {
  for (const std::string& entry : entries)
    if (entry.compare(0, strlen(name) + 1, name + std::string("=")) == 0) return entry.substr(strlen(name) + 1);
  return "";
}

std::string describe(const tw_tensor& tensor) {
  static const char* const names[] = {"bool",   "int8",  "uint8",  "int16",   "uint16",  "int32",
                                      "uint32", "int64", "uint64", "float16", "float32", "float64"};
  std::string text = std::string(tensor.name) + " " + names[tensor.dtype] + " [";
  for (uint32_t i = 0; i < tensor.rank; ++i) text += (i ? ", " : "") + std::to_string(tensor.shape[i]);
  return text + "]";
}

struct Tensors {
  std::vector<tw_tensor> infos;
  std::vector<std::vector<char>> bytes;
  std::vector<tw_buffer> buffers;

  template <typename Query>
  Tensors(tw_session* session, size_t count, Query query) : infos(count), bytes(count) {
    for (size_t i = 0; i < count; ++i) {
      must(query(session, i, &infos[i]));
      bytes[i].resize(infos[i].nbytes);
      buffers.push_back({bytes[i].data(), infos[i].nbytes});
    }
  }

  // Refuses names that no tensor has.
  void need_known(const std::vector<std::string>& entries) const {
    for (const std::string& entry : entries) {
      bool known = false;
      for (const tw_tensor& info : infos) known = known || !file_of({entry}, info.name).empty();
      if (!known) die(entry + ": no such tensor, or not NAME=FILE");
    }
  }
};

void read_file(const std::string& path, const tw_tensor& tensor, std::vector<char>* bytes) {
  std::ifstream file(path, std::ios::binary);
  if (!file) die(path + ": cannot read");
  std::vector<char> found((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  if (found.size() != tensor.nbytes)
    die(path + ": " + std::to_string(found.size()) + " bytes, " + describe(tensor) + " needs " +
        std::to_string(tensor.nbytes));
  std::copy(found.begin(), found.end(), bytes->begin());  // the buffers point there
}

int list_devices() {
  tw_device_info info;
  for (size_t i = 0; tw_device(i, &info) == TW_OK; ++i) printf("%s: %s (%s)\n", info.backend, info.name, info.driver);
  return 0;
}

int selftest(tw_session* session) {
  double error = 0, tolerance = 0;
  must(tw_selftest(session, &error, &tolerance));
  printf("self-test passed on %s: relative error %g, at most %g allowed\n", tw_session_device(session), error,
         tolerance);
  return 0;
}

double median_ms(std::vector<double> times) {
  std::sort(times.begin(), times.end());
  return times[times.size() / 2];
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::string> inputs, outputs;
  std::string model, trace;
  std::string device;
  int threads = 1, repeat = 1;
  bool profile = false, test = false;
  for (int i = 1; i < argc; ++i) {
    const std::string option = argv[i];
    auto value = [&]() -> const char* { return i + 1 < argc ? argv[++i] : (die(option + " needs a value"), ""); };
    if (option == "--input")
      inputs.push_back(value());
    else if (option == "--output")
      outputs.push_back(value());
    else if (option == "--device")
      device = value();
    else if (option == "--threads")
      threads = atoi(value());
    else if (option == "--repeat")
      repeat = atoi(value());
    else if (option == "--trace")
      trace = value();
    else if (option == "--profile")
      profile = true;
    else if (option == "--selftest")
      test = true;
    else if (option == "--devices")
      return list_devices();
    else if (option[0] != '-' && model.empty())
      model = option;
    else
      return fputs(kUsage, stderr), 2;
  }
  if (model.empty() || repeat < 1) return fputs(kUsage, stderr), 2;

  tw_options options;
  tw_options_init(&options);
  options.device = device.c_str();
  options.threads = threads;
  options.flags = profile || !trace.empty() ? uint32_t{TW_PROFILE} : 0;
  tw_session* session = nullptr;
  must(tw_load_file(model.c_str(), &options, &session));
  if (test) return selftest(session);

  Tensors in(session, tw_input_count(session), tw_input), out(session, tw_output_count(session), tw_output);
  in.need_known(inputs);
  out.need_known(outputs);
  for (size_t i = 0; i < in.infos.size(); ++i) {
    std::string path = file_of(inputs, in.infos[i].name);
    if (!path.empty()) read_file(path, in.infos[i], &in.bytes[i]);
    printf("input  %s%s\n", describe(in.infos[i]).c_str(), path.empty() ? " = 0" : "");
  }
  std::vector<double> times;
  for (int i = 0; i < repeat; ++i) {
    auto start = std::chrono::steady_clock::now();
    must(tw_run(session, in.buffers.data(), in.buffers.size(), out.buffers.data(), out.buffers.size()));
    times.push_back(std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count());
  }
  for (size_t i = 0; i < out.infos.size(); ++i) {
    printf("output %s\n", describe(out.infos[i]).c_str());
    std::string path = file_of(outputs, out.infos[i].name);
    if (path.empty()) continue;
    std::ofstream file(path, std::ios::binary);
    file.write(out.bytes[i].data(), long(out.bytes[i].size()));
    if (!file.flush()) die(path + ": cannot write");
  }
  printf("%s for %s: median %.3f ms of %d\n", tw_session_device(session), tw_session_target(session), median_ms(times),
         repeat);
  tw_profile_entry entry;
  for (size_t i = 0; profile && tw_profile(session, i, &entry) == TW_OK; ++i)
    printf("%10.3f us  %s  %s\n", double(entry.total_ns) / 1e3 / double(entry.runs), entry.kernel, entry.layers);
  if (!trace.empty()) must(tw_trace_write(session, trace.c_str()));
  tw_free(session);
}
