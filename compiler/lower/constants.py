"""How small constants lie in the file: biases, scales, sums, tables of offsets.

A network has hundreds of them. Raw, each begins at a multiple of 256 bytes, so that a zero point takes as much as the
bias of 64 channels. Coded they follow one another, and sums and offsets, whose upper bytes are alike, get shorter.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tilewright.formats.storage.entropy import Entropy
from tilewright.plan import ARENA_ALIGNMENT, ENTROPY, RAW, Buffer

_SMALL = 1 << 14  # bytes; larger ones are worth using where they lie


def compact(constant: Buffer) -> Buffer:
    """A constant in the form in which it takes the fewest bytes of the file, if it is small and nobody chose a form."""
    if constant.data is None or constant.storage != RAW or constant.nbytes > _SMALL:
        return constant
    dtype = np.dtype(constant.dtype)
    # Planes of floats would save a tenth, and their tables take longer to expand.
    bits = 8 * dtype.itemsize if dtype.kind in "iu" and dtype.itemsize in (2, 4) else 8
    coded = Entropy().compressed_bytes(constant.data, bits)
    raw = -(-constant.nbytes // ARENA_ALIGNMENT) * ARENA_ALIGNMENT
    return replace(constant, storage=ENTROPY, symbol_bits=bits) if coded < raw else constant
