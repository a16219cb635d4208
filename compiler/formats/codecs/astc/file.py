"""ASTC files: a header of 16 bytes and the blocks, as Arm's tools and texture loaders read them.

The header is little-endian: the magic number 13 AB A1 5C; width, height and depth of a block, one byte each; and width,
height and depth of the image in texels, three bytes each. A matrix is an image of [rows = height, columns = width]. The
file has no place for the scales of ``codec.Astc``: what a viewer shows is each row divided by its scale.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tilewright.errors import DataError
from tilewright.formats.base import Array
from tilewright.formats.codecs.astc import decode, modes

_MAGIC = bytes((0x13, 0xAB, 0xA1, 0x5C))
_HEADER = 16
_LARGEST = (1 << 24) - 1


@dataclass(frozen=True)
class Image:
    """A compressed image, or matrix.

    Attributes:
        footprint: width and height of a block.
        shape: rows and columns, in texels, without padding.
        blocks: uint8 [block rows, block columns, 16].
    """

    footprint: tuple[int, int]
    shape: tuple[int, int]
    blocks: Array

    def texels(self) -> decode.Texels:
        """The red channel, uint16 [rows, columns]; the error colour where a block is illegal."""
        rows, columns = self.blocks.shape[:2]
        width, height = self.footprint
        tiles = decode.decode(self.blocks.reshape(-1, modes.BLOCK_BYTES), self.footprint, channels=1)
        whole = (
            tiles.reshape(rows, columns, height, width).transpose(0, 2, 1, 3).reshape(rows * height, columns * width)
        )
        return whole[: self.shape[0], : self.shape[1]]


def write(path: str | os.PathLike[str], image: Image) -> None:
    """Writes a file.

    Raises:
        DataError: the blocks do not cover the shape, or a side is none or above 2**24 - 1.
    """
    _check(path, image.footprint, image.shape)
    rows, columns = _blocks(image.footprint, image.shape)
    if image.blocks.shape != (rows, columns, modes.BLOCK_BYTES) or image.blocks.dtype != np.uint8:
        raise DataError(
            f"{path}: {image.shape} texels are {rows} x {columns} blocks of 16 bytes, not {image.blocks.shape}"
        )
    height, width = image.shape
    sides = b"".join(side.to_bytes(3, "little") for side in (width, height, 1))
    Path(path).write_bytes(_MAGIC + bytes((*image.footprint, 1)) + sides + image.blocks.tobytes())


def read(path: str | os.PathLike[str]) -> Image:
    """Reads a file of one two-dimensional image.

    Raises:
        DataError: not such a file, or a file of another length than its header says.
    """
    data = Path(path).read_bytes()
    if data[:4] != _MAGIC or len(data) < _HEADER:
        raise DataError(f"{path}: not an ASTC file")
    footprint = (data[4], data[5])
    width, height, depth = (int.from_bytes(data[at : at + 3], "little") for at in (7, 10, 13))
    if data[6] != 1 or depth != 1:
        raise DataError(f"{path}: a three-dimensional ASTC image, which weights never are")
    _check(path, footprint, (height, width))
    rows, columns = _blocks(footprint, (height, width))
    expected = _HEADER + rows * columns * modes.BLOCK_BYTES
    if len(data) != expected:
        raise DataError(f"{path}: {len(data)} bytes, but its header says {expected}")
    blocks = np.frombuffer(data, np.uint8, offset=_HEADER).reshape(rows, columns, modes.BLOCK_BYTES)
    return Image(footprint, (height, width), blocks)


def _check(path: str | os.PathLike[str], footprint: tuple[int, int], shape: tuple[int, int]) -> None:
    if footprint not in modes.FOOTPRINTS:
        raise DataError(f"{path}: ASTC has no blocks of {footprint[0]}x{footprint[1]}")
    if not all(0 < side <= _LARGEST for side in shape):
        raise DataError(f"{path}: an ASTC file cannot hold {shape[0]} rows of {shape[1]}")


def _blocks(footprint: tuple[int, int], shape: tuple[int, int]) -> tuple[int, int]:
    return -(-shape[0] // footprint[1]), -(-shape[1] // footprint[0])
