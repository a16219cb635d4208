"""A run on the cpu allocates nothing."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tilewright.artifact import Artifact
from tilewright.runtime import native

from . import toys

# Counts every allocation of the process by standing in for malloc and its kin, then compares runs with none.
COUNTER = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <tilewright/tilewright.h>

extern void* __libc_malloc(size_t);
extern void* __libc_calloc(size_t, size_t);
extern void* __libc_realloc(void*, size_t);
extern void* __libc_memalign(size_t, size_t);
static volatile long count;
static void add(void) { __sync_fetch_and_add(&count, 1); }
void* malloc(size_t n) { add(); return __libc_malloc(n); }
void* calloc(size_t n, size_t m) { add(); return __libc_calloc(n, m); }
void* realloc(void* p, size_t n) { add(); return __libc_realloc(p, n); }
void* memalign(size_t a, size_t n) { add(); return __libc_memalign(a, n); }
void* aligned_alloc(size_t a, size_t n) { add(); return __libc_memalign(a, n); }
int posix_memalign(void** p, size_t a, size_t n) { add(); *p = __libc_memalign(a, n); return *p ? 0 : 12; }

#define GET(name) __typeof__(name)* p_##name = (__typeof__(name)*)dlsym(library, #name)

int main(int argc, char** argv) {
  void* library = dlopen(argv[1], RTLD_NOW);
  if (!library) return fprintf(stderr, "%s\n", dlerror()), 1;
  GET(tw_options_init); GET(tw_load_file); GET(tw_run); GET(tw_free); GET(tw_last_error);
  tw_options options;
  p_tw_options_init(&options);
  options.threads = atoi(argv[3]);
  tw_session* session;
  long before = count;
  if (p_tw_load_file(argv[2], &options, &session)) return fprintf(stderr, "%s\n", p_tw_last_error()), 1;
  long loading = count - before;
  float memory[64] __attribute__((aligned(64)));
  for (int i = 0; i < 64; ++i) memory[i] = 1;
  long running = 0;
  for (int round = 0; round < 100; ++round) {
    int shift = round % 3;  // in place and staged
    tw_buffer input = {memory + shift, 32}, output = {memory + 32 + shift, 32};
    before = count;
    if (p_tw_run(session, &input, 1, &output, 1)) return fprintf(stderr, "%s\n", p_tw_last_error()), 1;
    if (round > 0) running += count - before;  // the first run may set up thread-local storage
  }
  p_tw_free(session);
  printf("%ld %ld\n", loading > 0, running);
  return 0;
}
"""


@pytest.mark.parametrize(("toy", "threads"), [("cpu_toy", 1), ("cpu_toy", 3), ("compressed_toy", 1)])
def test_a_run_allocates_nothing(toy: str, threads: int, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if shutil.which("cc") is None:
        pytest.skip("no C compiler: apt-get install gcc")
    artifact: Artifact = request.getfixturevalue(toy)
    artifact.save(tmp_path / "toy.tw")
    (tmp_path / "count.c").write_text(COUNTER)
    include = toys.ROOT / "runtime" / "include"
    subprocess.run(
        ["cc", "-O1", "-rdynamic", "-I", include, tmp_path / "count.c", "-o", tmp_path / "count", "-ldl"], check=True
    )
    done = subprocess.run(
        [tmp_path / "count", native.library_path(), tmp_path / "toy.tw", str(threads)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    # The counter does see the library's allocations (loading makes some), and runs make none.
    assert done.stdout == "1 0\n"
