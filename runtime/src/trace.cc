#include "trace.h"

#include <cstdio>

namespace tw {
namespace {

std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      char escape[8];
      snprintf(escape, sizeof escape, "\\u%04x", c);
      out += escape;
    } else {
      out += c;
    }
  }
  return out + '"';
}

std::string triple(const uint32_t* size) {
  return "[" + std::to_string(size[0]) + "," + std::to_string(size[1]) + "," + std::to_string(size[2]) + "]";
}

}  // namespace

std::string chrome_trace(const Artifact& artifact, const std::string& device, const std::vector<Timing>& timings) {
  std::string out = "{\"displayTimeUnit\":\"ns\",\"otherData\":{\"target\":" + quoted(artifact.target) +
                    ",\"device\":" + quoted(device) + "},\"traceEvents\":[\n";
  for (size_t i = 0; i < timings.size(); ++i) {
    const Launch& launch = artifact.launches[i];
    char times[80];
    snprintf(times, sizeof times, "\"ts\":%.3f,\"dur\":%.3f", double(timings[i].start) / 1e3,
             double(timings[i].duration) / 1e3);
    std::string name = launch.module == format::kCopy ? "copy" : launch.kernel;
    out += (i ? ",\n" : "") + ("{\"ph\":\"X\",\"pid\":0,\"tid\":0,\"cat\":\"kernel\",\"name\":" + quoted(name)) + "," +
           times + ",\"args\":{\"layers\":" + quoted(artifact.layers(launch)) + ",\"grid\":" + triple(launch.grid) +
           ",\"block\":" + triple(launch.block) + "}}";
  }
  return out + "\n]}\n";
}

}  // namespace tw
