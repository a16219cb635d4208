"""Writes the seeds of the interpreter's fuzzer: streams of Vela's and ours for tiny networks that use every operation.

python -m tests.fuzz.make_nna_corpus        rewrites tests/fuzz/nna_corpus; needs pip install -e '.[nna]'
"""

from __future__ import annotations

import struct
import tempfile
from pathlib import Path

from benchmarks.nna import layers
from benchmarks.nna.tflite import Builder
from benchmarks.nna.vela import compile_model
from tests.lower.ethosu.networks import Builder as OurBuilder
from tilewright.integer.network import Network
from tilewright.lower.ethosu import compile_network

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


def ours() -> dict[str, tuple[Network, str]]:
    """Likewise: maps that are slices of others, doubling, tables of 16-bit values, fast memory."""
    found = {}
    for name, dtype, accelerator in (("slices", "int8", "ethos-u65-256"), ("deep", "int16", "ethos-u55-128")):
        b = OurBuilder(1, dtype)
        x = b.map(2, 3, 5)
        y = b.concat(b.conv(x, 16 if dtype == "int8" else 3, 1, alike=x), b.pool(x, "MAX", 1), x)
        y = b.resize(b.conv(y, 4, 1), 2)
        y = b.binary("ADD", y, b.lookup(y) if dtype == "int16" else y, clamp=(-20, 90))
        found[name] = b.network([x], [y]), accelerator
    return found


def write(name: str, payload: bytes, weights: bytes) -> None:
    seed = struct.pack("<I", len(payload)) + payload + weights
    (CORPUS / name).write_bytes(seed)
    print(name, len(seed), "bytes")


def main() -> None:
    CORPUS.mkdir(exist_ok=True)
    for name, (network, accelerator) in ours().items():
        stream = compile_network(network, accelerator)
        write(name, stream.payload, stream.weights)
    with tempfile.TemporaryDirectory() as folder:
        for name, (model, accelerator) in networks().items():
            compiled = compile_model(model, accelerator, "regor", Path(folder))
            write(name, compiled.payload, compiled.weights.tobytes())


if __name__ == "__main__":
    main()
