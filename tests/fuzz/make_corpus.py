"""Writes the seeds of the loader's fuzzer: small artifacts that between them use every table and segment.

python tests/fuzz/make_corpus.py        rewrites tests/fuzz/corpus
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tilewright.artifact import Artifact, Selftest
from tilewright.plan import COPY, ENTROPY, Buffer, BufferKind, Image, Launch, Module, Plan

CORPUS = Path(__file__).with_name("corpus")


def seeds() -> dict[str, Artifact]:
    """Artifacts by file name."""
    x = np.arange(4, dtype=np.float32)
    source = b"__kernel void k(__global const float* x, __global float* y) {}"
    float4 = Buffer("x", BufferKind.INPUT, "float32", (4,))
    output = Buffer("y", BufferKind.OUTPUT, "float32", (4,))
    arena = Buffer("t", BufferKind.ARENA, "float32", (2, 2), 256)
    weights = Buffer("w", BufferKind.CONSTANT, "float32", (4,), 0, x)
    mask = Buffer("m", BufferKind.CONSTANT, "bool", (1, 3), 0, np.array([[True, False, True]]))
    buffers = (float4, output, arena, weights, mask)
    opencl = Image("opencl", "", ("cl_khr_fp16",), "-cl-std=CL1.2", source)
    elf = [Image("elf", arch, ("avx2", "fma"), "", b"\x7fELF" + arch.encode()) for arch in ("x86_64", "aarch64")]
    cuda = [Image("cubin", "sm_87", (), "", b"cubin"), Image("ptx", "sm_53", (), "", b".version 6.0")]
    copies = (Launch("copy", COPY, (0, 2)), Launch("copy", COPY, (2, 1), layers=("Identity_0",)))
    launches = (
        Launch("k", 0, (0, 3, 2), (7, 1, 1), (64, 2, 1), ("conv1", "relu1")),
        Launch("k", 1, (2, 4, 1), layers=("gemm",)),
    )
    test = Selftest({"x": x}, {"y": x}, 1e-5)
    empty = Buffer("e", BufferKind.INPUT, "int64", (0, 3))
    scalar = Buffer("s", BufferKind.OUTPUT, "float16", ())
    coded = np.random.default_rng(0).binomial(15, 0.5, 200).astype(np.uint8)
    halves = (np.resize(coded, 1000) / 16).astype(np.float16)
    packed = (
        Buffer("x", BufferKind.INPUT, "int8", (1,)),
        Buffer("w.q", BufferKind.CONSTANT, "uint8", (10, 20), 0, coded.reshape(10, 20), ENTROPY, 4),
        Buffer("w.scale", BufferKind.CONSTANT, "float16", (1000,), 0, halves, ENTROPY, 16),
        Buffer("t", BufferKind.TEMPORARY, "uint8", (10, 20), 256),
        Buffer("w", BufferKind.STATIC, "uint8", (10, 20)),
        Buffer("y", BufferKind.OUTPUT, "uint8", (10, 20)),
        Buffer("z", BufferKind.OUTPUT, "float16", (1000,)),
    )
    early = (Launch("copy", COPY, (1, 3), layers=("w.unpack",)), Launch("copy", COPY, (3, 4)))
    late = (Launch("copy", COPY, (4, 5)), Launch("copy", COPY, (2, 6)))
    long = Image("opencl", "", (), "", b"".join(b"// line %d\n" % n for n in range(500)) + source)
    many = tuple(Launch("copy", COPY, (0, 1), layers=(f"layer.{n}",)) for n in range(100))
    return {
        "deflated.tw": Artifact(
            Plan("mali", "opencl", buffers[:2], (0,), (1,), many, (Module("a", (long,)),), 0),
            {"a": list(range(1500))},
        ),
        "copy.tw": Artifact(Plan("cpu", "cpu", buffers[:3], (0,), (1,), copies, (), 512), {"a": [1, "é"]}, test),
        "empty.tw": Artifact(Plan("cpu", "cpu", (), (), (), (), (), 0)),
        "shapes.tw": Artifact(Plan("cpu", "cpu", (empty, scalar), (0,), (1,), (), (), 0, 64)),
        "prologue.tw": Artifact(Plan("cpu", "cpu", packed, (0,), (5, 6), late, (), 0, 0, early, 256, 512)),
        "opencl.tw": Artifact(
            Plan("mali-g78", "opencl", buffers, (0,), (1,), launches, (Module("a", (opencl,)),) * 2, 512), {}, test
        ),
        "images.tw": Artifact(
            Plan(
                "cpu-avx2", "cpu", buffers, (0,), (1,), launches,
                (Module("cpu", tuple(elf)), Module("cuda", tuple(cuda))), 512, 4096,
            ),
            {"report": {"conv1": "f32"}},
        ),
    }  # fmt: skip


if __name__ == "__main__":
    CORPUS.mkdir(exist_ok=True)
    for name, artifact in seeds().items():
        artifact.save(CORPUS / name)
        print(name, (CORPUS / name).stat().st_size, "bytes")
