"""Writes the seeds of the interpreter's fuzzer: streams of Vela's for tiny networks that use every operation.

python tests/fuzz/make_nna_corpus.py        rewrites tests/fuzz/nna_corpus; needs pip install -e '.[nna]'
"""

from __future__ import annotations

import struct
import tempfile
from pathlib import Path

from benchmarks.nna import layers
from benchmarks.nna.tflite import Builder
from benchmarks.nna.vela import compile_model

CORPUS = Path(__file__).with_name("nna_corpus")


def networks() -> dict[str, tuple[bytes, str]]:
    """Model and accelerator by file name."""
    found = {}
    b = Builder(1)
    x = layers.conv(b, b.input((1, 5, 5, 3)), 9, 3, activation=layers.RELU)
    x = layers.depthwise(b, x, 3, stride=2)
    found["conv"] = (b.finish(layers.unary(b, "TANH", x, 1 / 128, 0)), "ethos-u55-128")
    b = Builder(2)
    x = layers.conv(b, b.input((1, 4, 4, 20)), 18, 1)
    found["cores"] = (b.finish(layers.transposed(b, x, 4, 3)), "ethos-u65-512")
    b = Builder(3)
    x = layers.pool(b, b.input((1, 6, 6, 3)), "AVERAGE", 3, 1)
    found["pool"] = (b.finish(layers.pool(b, x, "MAX", 2, 2)), "ethos-u55-256")
    b = Builder(4)
    x, y = b.input((1, 3, 3, 5)), b.input((1, 1, 1, 5), scale=0.02)
    x = layers.binary(b, "MUL", layers.binary(b, "ADD", x, y), y)
    found["binary"] = (b.finish(layers.unary(b, "ABS", x, 0.04, -128, AbsOptions={})), "ethos-u55-128")
    b = Builder(5)
    x = layers.unary(b, "SOFTMAX", b.input((2, 6), scale=0.1), 1 / 256, -128, SoftmaxOptions={"beta": 1.0})
    found["softmax"] = (b.finish(x), "ethos-u65-256")
    b = Builder(6)
    x = layers.conv(b, b.input((1, 3, 3, 4), "int16", 2.0**-12), 4, 3)
    x = layers.unary(b, "LEAKY_RELU", x, x.scale, 0, LeakyReluOptions={"alpha": 0.2})
    found["sixteen"] = (b.finish(layers.unary(b, "TANH", x, 2.0**-15, 0)), "ethos-u55-128")
    return found


def main() -> None:
    CORPUS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for name, (model, accelerator) in networks().items():
            compiled = compile_model(model, accelerator, "regor", Path(folder))
            seed = struct.pack("<I", len(compiled.payload)) + compiled.payload + compiled.weights.tobytes()
            (CORPUS / name).write_bytes(seed)
            print(name, len(seed), "bytes")


if __name__ == "__main__":
    main()
