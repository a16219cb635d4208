// A test harness in a page: TEST registers, CHECK records, main.cc runs.
#pragma once

#include <cstdio>
#include <string>
#include <vector>

#include "failure.h"

struct Test {
  const char* name;
  void (*body)();
};

inline std::vector<Test>& all_tests() {
  static std::vector<Test> tests;
  return tests;
}

inline int& failed_checks() {
  static int count = 0;
  return count;
}

struct Registered {
  Registered(const char* name, void (*body)()) { all_tests().push_back({name, body}); }
};

#define TEST(name)                                         \
  static void test_##name();                               \
  static Registered registered_##name{#name, test_##name}; \
  static void test_##name()

#define CHECK(condition)                                                            \
  do {                                                                              \
    if (!(condition)) {                                                             \
      ++failed_checks();                                                            \
      fprintf(stderr, "%s:%d: CHECK(%s) failed\n", __FILE__, __LINE__, #condition); \
    }                                                                               \
  } while (0)

// The text of the Error that body throws; "" if it throws none.
template <typename Body>
std::string error_of(Body body) {
  try {
    body();
    return "";
  } catch (const tw::Error& error) {
    return error.text.empty() ? "(no text)" : error.text;
  }
}
