"""ASTC weights of a compressed model as texture files, for tools and GPUs that read such files.

A file shows the matrix [output channels, inputs of one] with every row divided by its scale. There is no place for the
scales in it: they lie beside it as ``.scales.npy``. Weights are (texel - 32896) * scale, texels as 16-bit integers.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnx_ir as ir

from tilewright.errors import UsageError
from tilewright.formats.codecs.astc import Astc, file
from tilewright.passes.encode import unpackings


def export(model: ir.Model, folder: str | Path) -> list[Path]:
    """Writes ``<weight>.astc`` and ``<weight>.scales.npy`` (float32 [rows]) for every weight that is stored as ASTC.

    Args:
        model: a compressed model.
        folder: made where it is missing. Of block-sparse weights a file holds the blocks that are kept, row by row.

    Returns:
        The texture files.

    Raises:
        UsageError: no weight is stored as ASTC, or the folder cannot be made or written to; nothing is written then.
    """
    found = [
        (node, unpacking, unpacking.format.codec)
        for node, unpacking in unpackings(model.graph)
        if isinstance(unpacking.format.codec, Astc)
    ]
    if not found:
        raise UsageError(f"{folder}: there are no textures to write: the recipe stores no weight as ASTC")
    place = Path(folder)
    written: list[Path] = []
    try:
        place.mkdir(parents=True, exist_ok=True)
        for node, unpacking, codec in found:
            arrays = unpacking.arrays(node)
            stem = _stem(node.outputs[0].name or "weight", {path.stem for path in written})
            path = place / f"{stem}.astc"
            file.write(path, file.Image(codec.footprint, unpacking.payload, arrays["blocks"]))
            np.save(place / f"{stem}.scales.npy", arrays["scales"])
            written.append(path)
    except OSError as error:
        raise UsageError(f"{place}: cannot write textures: {error.strerror}") from error
    return written


def _stem(name: str, taken: set[str]) -> str:
    """A file name for a weight: letters, digits, dots and dashes; numbered where two weights would have the same."""
    plain = re.sub(r"[^\w.-]+", "_", name, flags=re.ASCII).strip("._") or "weight"
    return next(stem for n in range(len(taken) + 1) if (stem := plain if not n else f"{plain}_{n + 1}") not in taken)
