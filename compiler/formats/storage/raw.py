"""``raw``: bytes as they are, used in place from the mapped file."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tilewright.errors import ArtifactError
from tilewright.formats.base import Array


@dataclass(frozen=True)
class Raw:
    """Little-endian bytes in C order."""

    @property
    def spec(self) -> str:
        return "raw"

    def compress(self, array: Array, symbol_bits: int) -> bytes:
        return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()

    def expand(self, data: bytes, nbytes: int) -> Array:
        """The bytes.

        Raises:
            ArtifactError: another number of them.
        """
        if len(data) != nbytes:
            raise ArtifactError(f"raw weights of {len(data)} bytes where {nbytes} belong")
        return np.frombuffer(data, np.uint8)
