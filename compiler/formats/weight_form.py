"""How a weight of a network is stored, beside its packed arrays, and how it is put together from them again."""

from __future__ import annotations

from dataclasses import dataclass

from tilewright.formats.registry import Format


@dataclass(frozen=True)
class WeightForm:
    """What graphs say of a compressed weight.

    Attributes:
        format: with the storage of the artifact; arrays in models are never entropy-coded.
        roles: what each array is: "values", "scales", "index", ...
        matrix: rows and columns of the weight matrix.
        payload: rows and columns of what the layout keeps.
        split: extents of rows, taps and columns; the matrix is [rows, taps x columns].
        perm: the order of these three axes in the weight.
        shape: of the weight.
    """

    format: Format
    roles: tuple[str, ...]
    matrix: tuple[int, int]
    payload: tuple[int, int]
    split: tuple[int, int, int]
    perm: tuple[int, ...]
    shape: tuple[int, ...]
