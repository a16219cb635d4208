// Runs all tests, or those whose name contains the first argument.
#include <cstring>

#include "check.h"

int main(int argc, char** argv) {
  int ran = 0;
  for (const Test& test : all_tests()) {
    if (argc > 1 && !strstr(test.name, argv[1])) continue;
    int before = failed_checks();
    test.body();
    ++ran;
    printf("%s %s\n", failed_checks() == before ? "ok    " : "FAILED", test.name);
  }
  printf("%d tests, %d failed checks\n", ran, failed_checks());
  return failed_checks() || !ran;
}
