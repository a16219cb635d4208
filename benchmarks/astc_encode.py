"""ASTC as a weight format: time for a large matrix, SNR of every footprint, and the size of AlexNet.

    python benchmarks/astc_encode.py              # everything, on random weights of a normal distribution
    python benchmarks/astc_encode.py --reference  # with the SNR of Arm's astcenc at its quality "thorough", slow

Wall time depends on what else the machine does; process time is the sum over all threads. Both are of one run.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from tilewright.formats.codecs.astc import Astc, modes, oracle

# Convolutions as [outputs, inputs of one group * kernel], then the fully connected layers.
ALEXNET = {
    "conv1": (96, 363),
    "conv2": (256, 1200),
    "conv3": (384, 2304),
    "conv4": (384, 1728),
    "conv5": (256, 1728),
    "fc6": (4096, 9216),
    "fc7": (4096, 4096),
    "fc8": (1000, 4096),
}
Result = TypeVar("Result")


def weights(shape: tuple[int, int]) -> npt.NDArray[np.float32]:
    return np.random.default_rng(0).standard_normal(shape, np.float32)


def snr(matrix: npt.NDArray[np.float32], decoded: npt.NDArray[np.float32]) -> float:
    """Signal to noise in dB."""
    return float(10 * np.log10(np.square(matrix).mean() / np.square(decoded - matrix).mean()))


def timed(work: Callable[[], Result]) -> tuple[Result, str]:
    wall, process = time.perf_counter(), time.process_time()
    result = work()
    return result, f"{time.perf_counter() - wall:.1f} s wall, {time.process_time() - process:.1f} s of processor"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reference", action="store_true", help="add astcenc's SNR, on 240 x 480 weights")
    reference = parser.parse_args().reference
    console = Console()

    codec, matrix = Astc(6, 6), weights(ALEXNET["fc6"])
    encoded, encoding = timed(lambda: codec.encode(matrix))
    decoded, decoding = timed(lambda: codec.decode(encoded))
    load = f", load average {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    console.print(f"AlexNet's fc6, {matrix.size:,} weights at 6x6, {os.cpu_count()} processors{load}")
    console.print(f"  encode {encoding}\n  decode {decoding}\n  SNR {snr(matrix, decoded):.2f} dB")

    table = Table(title="N(0, 1)")
    for name in ("footprint", "weights", "bits/weight", "SNR, dB", *(["astcenc, dB"] if reference else [])):
        table.add_column(name, justify="right")
    matrix = weights((480, 960))
    for footprint in modes.FOOTPRINTS:
        codec = Astc(*footprint)
        assert codec.scheme is not None
        mode = codec.scheme.mode
        encoded = codec.encode(matrix)
        row = [f"{footprint[0]}x{footprint[1]}", f"{mode.width}x{mode.height}, {mode.levels} levels"]
        row += [f"{8 * encoded.nbytes / matrix.size:.2f}", f"{snr(matrix, codec.decode(encoded)):.2f}"]
        if reference:
            slow, small = Astc(*footprint, astcenc=oracle.THOROUGH), matrix[:240, :480]
            row.append(f"{snr(small, slow.decode(slow.encode(small))):.2f}")
        table.add_row(*row)
    console.print(table)

    total = sum(Astc(6, 6).packed_bytes(shape) for shape in ALEXNET.values())
    whole = 4 * sum(rows * columns for rows, columns in ALEXNET.values())
    console.print(f"AlexNet at 6x6: {total / 1e6:.2f} MB with scales and padding, from {whole / 1e6:.1f} MB in float32")


if __name__ == "__main__":
    main()
