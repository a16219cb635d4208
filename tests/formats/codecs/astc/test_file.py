"""ASTC files: the header byte by byte, the round trip, and damaged files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tilewright.errors import DataError
from tilewright.formats.codecs.astc import Astc, file


def image(rows: int = 70, columns: int = 300) -> file.Image:
    matrix = np.random.default_rng(0).standard_normal((rows, columns)).astype(np.float32)
    return Astc(8, 5).image(Astc(8, 5).encode(matrix))


def test_header_and_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "weights.astc"
    file.write(path, image())
    data = path.read_bytes()
    assert data[:16].hex(" ") == "13 ab a1 5c 08 05 01 2c 01 00 46 00 00 01 00 00"
    assert len(data) == 16 + 16 * 14 * 38
    back = file.read(path)
    assert (back.footprint, back.shape) == ((8, 5), (70, 300))
    np.testing.assert_array_equal(back.blocks, image().blocks)


def test_texels() -> None:
    matrix = np.random.default_rng(0).standard_normal((70, 300)).astype(np.float32)
    codec = Astc(8, 5)
    encoded = codec.encode(matrix)
    texels = codec.image(encoded).texels()
    weights = (texels.astype(np.float32) - np.float32(32896)) * encoded.arrays["scales"][:, None]
    np.testing.assert_array_equal(weights, codec.decode(encoded))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data[:10], "not an ASTC file"),
        (lambda data: b"\0" + data[1:], "not an ASTC file"),
        (lambda data: data[:-1], "its header says"),
        (lambda data: data + b"\0", "its header says"),
        (lambda data: data[:4] + b"\7" + data[5:], "no blocks of 7x5"),
        (lambda data: data[:6] + b"\2" + data[7:], "three-dimensional"),
        (lambda data: data[:7] + b"\0\0\0" + data[10:], "cannot hold 70 rows of 0"),
        (lambda data: data[:7] + b"\xff\xff\xff" * 2 + data[13:], "its header says"),
    ],
)
def test_damaged_files(tmp_path: Path, change, message: str) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "weights.astc"
    file.write(path, image())
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(DataError, match=message):
        file.read(path)


def test_writing_what_does_not_fit(tmp_path: Path) -> None:
    whole = image()
    with pytest.raises(DataError, match="blocks of 16 bytes"):
        file.write(tmp_path / "a.astc", file.Image(whole.footprint, (71, 300), whole.blocks))
    with pytest.raises(DataError, match="no blocks of 7x5"):
        file.write(tmp_path / "a.astc", file.Image((7, 5), whole.shape, whole.blocks))
    assert not list(tmp_path.iterdir())
