"""Weight formats: size, signal-to-noise ratio, time to encode, and entropy-coded sizes against the entropy.

    python benchmarks/formats.py                      # all tables
    python benchmarks/formats.py --shape 1024 1024    # a smaller matrix than AlexNet's FC6 for the times
    python benchmarks/formats.py --spec "int4(group=32)" --spec "codebook(16)" --json out.json

Times are of one call on this machine, for orientation only. CPU time is that of all threads together.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from tilewright.formats.bits import unpack_bits
from tilewright.formats.packed import PackedWeight, expand, kept_magnitude, pack, snr_db, symbol_bits, unpack
from tilewright.formats.registry import parse
from tilewright.formats.storage.entropy import entropy_bits

Matrix = npt.NDArray[np.float32]

FC6 = (4096, 9216)
QUALITY = (1024, 4608)  # of the matrices that signal-to-noise ratios are measured on
CODECS = (
    *("f16", "int8(per=tensor)", "int8", "int4(per=tensor)", "int4", "int4(group=32)", "int4(group=32,asymmetric)"),
    *("int4(group=128)", "int3(group=64)", "int3(group=64,asymmetric)", "int3(group=64,asymmetric,clip=minmax)"),
    *("int2(group=16)", "int2(group=32)", "codebook(256)", "codebook(16)", "codebook(8)", "codebook(4)"),
    *("vbd(4)", "vbd(4,per=tensor)", "vbd(6)", "astc(4,4)", "astc(6,5)", "astc(6,6)"),
)
CODED = ("int4(per=tensor)", "int4", "int4(group=32)", "int8", "codebook(16)", "int3(group=64)", "f16")
LAYOUTS = ("block_sparse(4,4)", "block_sparse(8,1)", "block_sparse(1,1)", "two_four")


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of a table, for --json."""

    table: str
    spec: str
    figures: dict[str, float]


def weights(kind: str, shape: tuple[int, int]) -> Matrix:
    """Random weights: normal, laplace, or sparse, which is laplace with 90 % zeros."""
    rng = np.random.default_rng(0)
    if kind == "normal":
        return rng.standard_normal(shape, np.float32)
    matrix = rng.laplace(size=shape).astype(np.float32)
    if kind == "sparse":
        matrix[rng.random(shape) < 0.9] = 0
    return matrix


def entropy_of(packed: PackedWeight) -> float:
    """Order-0 entropy of all arrays, bits a weight: of packed symbols, or of each byte plane of wider elements."""
    _, encoded = expand(packed)
    total = 0.0
    for role, array in encoded.arrays.items():
        width = symbol_bits(packed.format.codec, role, array.dtype)
        data = array.reshape(-1).view(np.uint8)
        if width <= 8:
            total += entropy_bits(unpack_bits(data, width, 8 * data.size // width))
        else:
            total += sum(entropy_bits(data[plane :: width // 8]) for plane in range(width // 8))
    return total / (packed.shape[0] * packed.shape[1])


def quality(specs: Sequence[str], shape: tuple[int, int], console: Console) -> list[Row]:
    """Bits and SNR of codecs, and the time they take on a large matrix."""
    columns = ("bits/weight", "SNR N(0,1) dB", "SNR Laplace dB", "encode s", "encode CPU s", "decode s")
    table = Table("codec", *columns, title=f"Codecs; times on {shape[0]} x {shape[1]} N(0,1)")
    small = {kind: weights(kind, QUALITY) for kind in ("normal", "laplace")}
    large = weights("normal", shape)
    rows = []
    for spec in specs:
        packed = {kind: pack(matrix, spec) for kind, matrix in small.items()}
        snr = [snr_db(matrix, unpack(packed[kind])) for kind, matrix in small.items()]
        codec = parse(spec).codec
        start, start_cpu = time.perf_counter(), time.process_time()
        encoded = codec.encode(large)
        middle, middle_cpu = time.perf_counter(), time.process_time()
        codec.decode(encoded)
        spent = (middle - start, middle_cpu - start_cpu, time.perf_counter() - middle)
        figures = (packed["normal"].bits_per_weight, *snr, *spent)
        table.add_row(spec, *(f"{figure:.{3 if i == 0 else 2}f}" for i, figure in enumerate(figures)))
        rows.append(Row("codecs", spec, dict(zip(columns, figures, strict=True))))
    console.print(table)
    return rows


def coded(specs: Sequence[str], shape: tuple[int, int], console: Console) -> list[Row]:
    """Files against the order-0 entropy of their symbols."""
    columns = ("raw bits", "coded bits", "entropy", "over, %", "compress s", "expand s")
    table = Table("codec", "weights", *columns, title=f"Entropy coding, {shape[0]} x {shape[1]}; all arrays counted")
    rows = []
    for kind in ("laplace", "sparse"):
        matrix = weights(kind, shape)
        for spec in specs:
            raw = pack(matrix, spec)
            storage = parse("entropy").storage
            _, encoded = expand(raw)
            widths = [symbol_bits(raw.format.codec, role, array.dtype) for role, array in encoded.arrays.items()]
            start = time.perf_counter()
            data = [storage.compress(*job) for job in zip(encoded.arrays.values(), widths, strict=True)]
            middle = time.perf_counter()
            for entry, compressed in zip(raw.arrays, data, strict=True):
                storage.expand(compressed, entry.nbytes)
            end = time.perf_counter()
            bits, entropy = 8 * sum(map(len, data)) / matrix.size, entropy_of(raw)
            figures = (raw.bits_per_weight, bits, entropy, 100 * (bits / entropy - 1), middle - start, end - middle)
            table.add_row(spec, kind, *(f"{figure:.{4 if 0 < i < 3 else 2}f}" for i, figure in enumerate(figures)))
            rows.append(Row(f"entropy, {kind}", spec, dict(zip(columns, figures, strict=True))))
    console.print(table)
    return rows


def layouts(shape: tuple[int, int], console: Console) -> list[Row]:
    """Sparse layouts with int4(group=32): size, what pruning keeps of random weights, and times."""
    columns = ("density", "bits/weight", "of that index", "kept magnitude", "prune s", "pack s", "unpack s")
    table = Table("layout", *columns, title=f"Layouts with int4(group=32), {shape[0]} x {shape[1]} N(0,1)")
    matrix = weights("normal", shape)
    rows = []
    for spec in LAYOUTS:
        layout, density = parse(spec).layout, 0.5 if spec == "two_four" else 0.1
        times = [time.perf_counter()]
        mask = layout.prune(matrix, density)
        times.append(time.perf_counter())
        kept = layout.pack(np.where(mask, matrix, np.float32(0)))
        times.append(time.perf_counter())
        layout.unpack(kept)
        times.append(time.perf_counter())
        packed = pack(np.where(mask, matrix, np.float32(0)), f"{spec} int4(group=32)")
        index = packed.sizes["index"] * 8 / matrix.size
        figures = (density, packed.bits_per_weight, index, kept_magnitude(matrix, mask), *np.diff(times).tolist())
        table.add_row(spec, *(f"{figure:.3f}" for figure in figures))
        rows.append(Row("layouts", spec, dict(zip(columns, figures, strict=True))))
    console.print(table)
    return rows


def main() -> int:
    """Prints the tables. Returns 0."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", type=int, nargs=2, default=FC6, metavar=("ROWS", "COLUMNS"), help="for the times")
    parser.add_argument("--spec", action="append", help="a codec; several times for several")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 140)
    shape = (options.shape[0], options.shape[1])
    rows = quality(options.spec or CODECS, shape, console)
    rows += coded(options.spec or CODED, QUALITY, console)
    if not options.spec:
        rows += layouts(shape, console)
    if options.json:
        options.json.write_text(json.dumps([dataclasses.asdict(row) for row in rows], indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
