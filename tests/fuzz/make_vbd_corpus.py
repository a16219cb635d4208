"""Writes the seeds of the fuzzer for streams of nna-vbd: tiny networks that use every operation and depth.

python -m tests.fuzz.make_vbd_corpus        rewrites tests/fuzz/vbd_corpus
"""

from __future__ import annotations

import struct
from pathlib import Path

from tests.lower.vbd.networks import Builder
from tilewright.integer.network import Network
from tilewright.lower.vbd import compile_network

CORPUS = Path(__file__).with_name("vbd_corpus")


def networks() -> dict[str, Network]:
    """By file name; each has one input and one output, for which the fuzzer has regions."""
    found = {}
    for bits in (4, 7, 8, 12, 16):
        b = Builder(bits)
        x = b.map(4, 5, 3, bits=bits)
        y = b.conv(b.conv(x, 6, (2, 3), (1, 2), bits=bits), 6, (3, 2), depthwise=True)
        found[f"conv{bits}"] = b.network([x], [b.lookup(y)])
    b = Builder(20)
    x = b.map(5, 4, 3, bits=6)
    y = b.pool(b.pool(x, "AVERAGE", (3, 2)), "MAX", (2, 2), (2, 2))
    found["pool"] = b.network([x], [b.conv(b.flatten(y), 4, sums=True)])
    b = Builder(21)
    x = b.map(3, 2, 4)
    y = b.binary("MUL", x, b.conv(b.pool(x, "AVERAGE", (3, 2), (3, 2)), 4))
    found["binary"] = b.network([x], [b.binary("SUB", b.binary("ADD", x, y), y)])
    b = Builder(22)
    x = b.map(2, 3, 2, bits=10)
    found["moves"] = b.network([x], [b.lookup(b.resize(b.concat(x, b.pool(x, "MAX", (1, 1))), 2, 1))])
    return found


def main() -> None:
    CORPUS.mkdir(exist_ok=True)
    for name, network in networks().items():
        stream = compile_network(network)
        seed = struct.pack("<I", len(stream.payload)) + stream.payload + stream.weights
        (CORPUS / name).write_bytes(seed)
        print(name, len(seed), "bytes")


if __name__ == "__main__":
    main()
