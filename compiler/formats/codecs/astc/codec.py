"""ASTC as a weight codec: 16 bytes for every w x h block of the matrix, and one float32 scale for every row.

Columns lie along x and rows along y, as the Khronos Data Format Specification, chapter "ASTC Compressed Texture Image
Formats", counts them. The meaning of a stored weight is exact in float32, and a kernel equals it where it computes

    weight[r, c] = float32(C[r, c] - ZERO) * scales[r]

with C the 16-bit integer of ``decode.decode`` and ZERO = 32896 = 257 * 128: the difference is a small integer, so there
is one rounding, that of the product. This is the unorm16 path. Hardware that samples the texture returns C rounded to
half precision, toward zero, or its upper eight bits. A kernel on it differs from this decoder by less than 2**-11, or
2**-8, of 65536 scales, and is compared with that tolerance. A block of zeros decodes to exact zeros (in half precision,
too: ZERO / 65536 has nine bits) where endpoints have 256 levels: all but 8x6, 10x6, 10x8 and larger by default.

Rows share blocks, so they are scaled to equal root mean square first; on trained matrices that gives a higher SNR than
one scale for all, or than scaling rows to equal maxima. A row with an outlier of more than ``_OUTLIER`` times its root
mean square is scaled to that outlier instead, lest the other rows lose endpoint precision to it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from tilewright.errors import ArtifactError, DataError
from tilewright.formats.base import Encoded, Matrix
from tilewright.formats.checks import checked
from tilewright.formats.codecs.astc import decode, element, encode, file, general, modes, oracle
from tilewright.formats.element import Element, Extents, Loads, Ops

ZERO = 257 * 128
_ABOVE_ZERO = 127  # codes of an endpoint above ZERO's
_OUTLIER = 8.0
_LARGEST = 2.0**127  # a block's endpoint may lie up to one code beyond the greatest weight, which must not overflow
_CHUNK = 1 << 16  # texels that are encoded together: their temporaries stay in the cache


@dataclass(frozen=True)
class Astc:
    """The codec ``astc(width,height)``.

    Attributes:
        width, height: of a block: columns and rows, one of the 14 two-dimensional footprints.
        levels: of a stored weight; None for the finest, a power of two for the simplest kernel.
        astcenc: quality, 0 to 100, of Arm's encoder, which is used instead of our own; None for our own.

    Raises:
        ValueError: no such footprint, levels that it cannot have, or quality out of range.
    """

    width: int
    height: int
    levels: int | None = None
    astcenc: float | None = None

    def __post_init__(self) -> None:
        if self.footprint not in modes.FOOTPRINTS:
            legal = ", ".join(f"{width}x{height}" for width, height in modes.FOOTPRINTS)
            raise ValueError(f"ASTC has no blocks of {self.width}x{self.height}, only {legal}")
        if self.astcenc is not None and self.levels is not None:
            raise ValueError("astcenc chooses the levels of every block; give levels or astcenc, not both")
        if self.astcenc is not None and not 0 <= self.astcenc <= 100:
            raise ValueError(f"the quality of astcenc is 0 to 100, not {self.astcenc:g}")
        encode.scheme_of(self.footprint, self.levels)  # raises what it cannot do

    @property
    def footprint(self) -> tuple[int, int]:
        return self.width, self.height

    @property
    def spec(self) -> str:
        options = [("levels", self.levels), ("astcenc", self.astcenc)]
        given = "".join(f",{name}={value:g}" for name, value in options if value is not None)
        return f"astc({self.width},{self.height}{given})"

    @property
    def symbol_bits(self) -> Mapping[str, int]:
        return {"blocks": 8, "scales": 32}

    @property
    def scheme(self) -> encode.Scheme | None:
        """What all blocks have in common, for a kernel; None where astcenc chooses freely."""
        return encode.scheme_of(self.footprint, self.levels) if self.astcenc is None else None

    def encode(self, payload: Matrix) -> Encoded:
        """Arrays ``blocks``, uint8 [block rows, block columns, 16], and ``scales``, float32 [rows].

        Sides that the footprint does not divide are padded with their last row or column.

        Raises:
            DataError: no weights, or NaN, infinity or a magnitude above 2**127 among them.
            ToolError: astcenc is asked for and not installed.
        """
        payload = checked(payload)
        scales = _scales(payload)
        rows, columns = self._blocks(payload.shape)
        blocks = np.empty((rows, columns, modes.BLOCK_BYTES), np.uint8)
        if self.astcenc is not None:
            texels = self._texels(payload, scales, slice(0, rows), slice(0, columns))
            image = np.minimum(texels / np.float32(255), 1)
            blocks[:] = oracle.compress(image, self.footprint, self.astcenc, _threads()).reshape(blocks.shape)
            return Encoded({"blocks": blocks, "scales": scales}, payload.shape)
        scheme = encode.scheme_of(self.footprint, self.levels)

        def work(down: slice, across: slice) -> None:
            part = blocks[down, across]
            texels = self._texels(payload, scales, down, across)
            tiles = texels.reshape(part.shape[0], self.height, part.shape[1], self.width).transpose(1, 3, 0, 2)
            part[:] = encode.encode(tiles.reshape(self.height * self.width, -1), scheme).reshape(part.shape)

        self._in_parallel(work, rows, columns)
        return Encoded({"blocks": blocks, "scales": scales}, payload.shape)

    def decode(self, encoded: Encoded) -> Matrix:
        """float32 of the payload's shape, by the arithmetic that this module's docstring gives.

        Blocks of any encoder are read, of any number of partitions, in one plane or two.

        Raises:
            ArtifactError: illegal blocks, or arrays of another shape.
        """
        blocks, scales = encoded.arrays["blocks"], encoded.arrays["scales"]
        rows, columns = self._blocks(encoded.shape)
        right_types = blocks.dtype == np.uint8 and scales.dtype == np.float32
        right_shapes = blocks.shape == (rows, columns, modes.BLOCK_BYTES) and scales.shape == encoded.shape[:1]
        if not (right_types and right_shapes):
            raise ArtifactError(
                f"{self.spec}: {blocks.dtype} blocks {blocks.shape} and {scales.dtype} scales {scales.shape} "
                f"do not hold {encoded.shape} weights"
            )
        out = np.empty(encoded.shape, np.float32)

        def work(down: slice, across: slice) -> None:
            part = blocks[down, across]
            texels, illegal = decode.decode_checked(part.reshape(-1, modes.BLOCK_BYTES), self.footprint, channels=1)
            if illegal.any():
                row, column = divmod(int(illegal.argmax()), part.shape[1])
                where = f"row {down.start + row}, column {across.start + column}"
                raise ArtifactError(f"{self.spec}: the block at {where} is illegal; the data are damaged")
            tiles = texels.reshape(*part.shape[:2], self.height, self.width).transpose(0, 2, 1, 3)
            whole = tiles.reshape(-1, part.shape[1] * self.width)
            down, across = self._covered(down, across)
            place = out[down, across]
            np.subtract(whole[: place.shape[0], : place.shape[1]], np.float32(ZERO), out=place, dtype=np.float32)
            place *= scales[down, None]

        self._in_parallel(work, rows, columns)
        return out

    def decoder(self, ops: Ops, loads: Loads, shape: Extents) -> Element:
        """That of blocks that share a mode, or, where astcenc chooses, of blocks of any mode."""
        if self.scheme is None:
            return general.decoder(ops, loads, shape, self.footprint, ZERO)
        return element.decoder(ops, loads, shape, self.scheme, ZERO)

    def image(self, encoded: Encoded) -> file.Image:
        """The blocks for ``file.write``, which leaves the scales behind."""
        return file.Image(self.footprint, encoded.shape, encoded.arrays["blocks"])

    def packed_bytes(self, shape: tuple[int, int]) -> int:
        """Exact bytes of blocks, padding included, and scales."""
        rows, columns = self._blocks(shape)
        return modes.BLOCK_BYTES * rows * columns + 4 * shape[0]

    def _blocks(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """Rows and columns of blocks."""
        return -(-shape[0] // self.height), -(-shape[1] // self.width)

    def _covered(self, down: slice, across: slice) -> tuple[slice, slice]:
        """The rows and columns of the matrix that ranges of blocks cover; may go beyond it."""
        rows = slice(down.start * self.height, down.stop * self.height)
        return rows, slice(across.start * self.width, across.stop * self.width)

    def _texels(self, payload: Matrix, scales: npt.NDArray[np.float32], down: slice, across: slice) -> Matrix:
        """Ranges of blocks as one padded matrix in units of endpoints."""
        rows, columns = self._covered(down, across)
        texels = np.empty((rows.stop - rows.start, columns.stop - columns.start), np.float32)
        part = payload[rows, columns]
        inside = texels[: part.shape[0], : part.shape[1]]
        np.divide(part, scales[rows, None], out=inside)  # a quotient: of a tiny scale, the reciprocal would overflow
        inside /= np.float32(257)
        inside += np.float32(ZERO // 257)
        texels[: part.shape[0], part.shape[1] :] = inside[:, -1:]
        texels[part.shape[0] :] = texels[part.shape[0] - 1]
        return np.clip(texels, 0, 255, out=texels)

    def _in_parallel(self, work: Callable[[slice, slice], None], rows: int, columns: int) -> None:
        """Calls ``work`` with ranges of block rows and columns, which do not depend on the number of threads."""
        wide = min(columns, _CHUNK // (self.width * self.height))
        high = max(1, _CHUNK // (self.width * self.height * wide))
        starts = [(down, across) for down in range(0, rows, high) for across in range(0, columns, wide)]
        _run([partial(work, slice(d, min(d + high, rows)), slice(a, min(a + wide, columns))) for d, a in starts])


def _scales(payload: Matrix) -> npt.NDArray[np.float32]:
    """The scale of every row.

    Raises:
        DataError: too great a magnitude.
    """
    peaks = np.maximum(payload.max(axis=1), -payload.min(axis=1)).astype(np.float64)
    if peaks.max() > _LARGEST:
        raise DataError(f"a weight of magnitude {peaks.max():.3g} is above what ASTC's scales allow, {_LARGEST:.3g}")
    flatness = np.empty_like(peaks)  # root mean square of a row over its peak
    step = max(1, _CHUNK // payload.shape[1])
    for first in range(0, len(payload), step):
        part = slice(first, first + step)
        unit = payload[part] / np.where(peaks[part] > 0, peaks[part], 1)[:, None]
        flatness[part] = np.sqrt(np.square(unit).mean(axis=1))
    live = flatness[flatness > 0]
    reach = min(1 / live.min(), _OUTLIER) if live.size else 1.0
    scales = peaks * np.maximum(flatness * reach, 1) / (_ABOVE_ZERO * 257)
    stored: npt.NDArray[np.float32] = np.maximum(scales, float(np.finfo(np.float32).tiny)).astype(np.float32)
    return stored


def _threads() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _run(jobs: Sequence[Callable[[], None]]) -> None:
    """Runs all jobs, in threads where there are several: NumPy releases the interpreter's lock."""
    threads = min(_threads(), len(jobs))
    if threads < 2:
        for job in jobs:
            job()
        return
    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(job) for job in jobs]:
            done.result()
