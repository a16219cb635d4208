// The disk cache of compiled programs.
#include "program_cache.h"

#include <stdlib.h>
#include <unistd.h>

#include <fstream>

#include "check.h"

TEST(keys_tell_parts_apart) {
  using tw::ProgramCache;
  CHECK(ProgramCache::key({"ab", "c"}) != ProgramCache::key({"a", "bc"}));
  CHECK(ProgramCache::key({"ab", "c"}) == ProgramCache::key({"ab", "c"}));
  CHECK(ProgramCache::key({"ab"}) != ProgramCache::key({"ab", ""}));
  CHECK(ProgramCache::key({""}).size() == 32);
}

TEST(programs_survive_and_damage_is_noticed) {
  char folder[] = "/tmp/tilewright-test-XXXXXX";
  CHECK(mkdtemp(folder) != nullptr);
  tw::ProgramCache cache(std::string(folder) + "/deep/er");
  const std::string key = tw::ProgramCache::key({"source"}), path = std::string(folder) + "/deep/er/" + key + ".bin";
  std::vector<uint8_t> program(1000, 3), found;
  CHECK(!cache.load(key, &found));
  cache.store(key, {program.data(), program.size()});
  CHECK(cache.load(key, &found) && found == program);
  for (long at : {0L, 8L, 16L, 20L, 500L}) {  // magic, size, checksum, version, program
    cache.store(key, {program.data(), program.size()});
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(at);
    file.put(char(0xEE));
    file.close();
    CHECK(!cache.load(key, &found));
  }
  CHECK(truncate(path.c_str(), 100) == 0 && !cache.load(key, &found));
  CHECK(truncate(path.c_str(), 0) == 0 && !cache.load(key, &found));
  cache.store(key, {program.data(), program.size()});
  CHECK(cache.load(key, &found) && found == program);
  unlink(path.c_str());
  for (const char* part : {"/deep/er", "/deep", ""}) CHECK(rmdir((std::string(folder) + part).c_str()) == 0);
}

TEST(a_cache_that_cannot_be_written_is_none) {
  std::vector<uint8_t> program(10), found;
  for (const char* folder : {"", "/proc/nowhere"}) {
    tw::ProgramCache cache(folder);
    cache.store("key", {program.data(), program.size()});
    CHECK(!cache.load("key", &found));
  }
}
