"""Masks that the user's own training produced, and the structure that the zeros of a weight have.

A mask is given by the name of the weight or of its layer, in the shape of the weight; zeros that are in the weights
already need none. For every weight the layout is found that stores its zeros with the fewest bytes.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from tilewright.errors import DataError, Problem
from tilewright.formats.base import Layout
from tilewright.formats.layouts.block_sparse import SIDES, BlockSparse
from tilewright.formats.layouts.dense import Dense
from tilewright.formats.layouts.two_four import TwoFour
from tilewright.passes.weights import Array, Weight, weights_in

BITS = 8
_LEAST_SAVING = 0.1  # of the dense bytes: less is not worth an index that kernels must follow
_MOST_BLOCKS = 1 << 16  # of a block row, by the type of the index


@dataclass(frozen=True)
class Structure:
    """How the zeros of a matrix lie.

    Attributes:
        density: share of elements that are not zero.
        layout: that stores them with the fewest bytes: dense, two_four or block_sparse.
        nbytes, dense_nbytes: of values and index in this layout, and of a dense one; without scales and the like.
    """

    density: float
    layout: Layout
    nbytes: int
    dense_nbytes: int


@dataclass(frozen=True)
class MaskedLayer:
    """What was found in one weight.

    Attributes:
        masked: share of the magnitude (sum of |w|) that a mask took away; 0 without a mask.
    """

    layer: str
    weight: str
    masked: float
    structure: Structure


class Masks(ir.passes.InPlacePass):
    """Applies masks to the weights of a normalised model.

    Structure is that of the matrix which formats store (see weights.py), where a layer behind a flatten has its columns
    by position, not in the weight's own order.

    Attributes:
        layers: filled by the pass: every weight, in graph order.
    """

    def __init__(self, masks: Mapping[str, npt.ArrayLike] | None = None, bits: float = BITS) -> None:
        """
        Args:
            masks: by name of a weight or a layer; bool, or numbers 0 and 1, of the weight's shape; 0 removes.
            bits: of a stored value, by which layouts are compared.
        """
        super().__init__()
        self.masks = dict(masks or {})
        self.bits = bits
        self.layers: list[MaskedLayer] = []

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """
        Raises:
            DataError: masks that name no weight, name one twice, or have the wrong shape or values; all at once, and
                the model is left as it was.
        """
        weights = weights_in(model.graph)
        matched = _matched(weights, self.masks)
        for weight in weights:
            name = weight.value.name or ""
            masked = 0.0
            if weight in matched:
                masked = _apply(weight, matched[weight])
            self.layers.append(MaskedLayer(weight.layer, name, masked, detect(weight.matrix, self.bits)))
        return ir.passes.PassResult(model, bool(matched))


def load_masks(path: str | os.PathLike[str]) -> dict[str, Array]:
    """Reads masks from an .npz file.

    Raises:
        DataError: the file cannot be read, or is none.
    """
    try:
        with Path(path).open("rb") as file:
            found = np.load(file, allow_pickle=False)
            if isinstance(found, np.ndarray):
                raise DataError(f"{os.fspath(path)}: one array; masks come in .npz files, by name of weight or layer")
            return {name: found[name] for name in found.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{os.fspath(path)}: cannot read masks: {error}") from error


def detect(matrix: Array, bits: float = BITS) -> Structure:
    """The structure of a matrix's zeros.

    Among layouts of the same size the one with the largest blocks is taken. Whatever saves less than a tenth is dense.

    Args:
        matrix: [rows, columns] of a weight.
        bits: of a stored value: the cheaper values are, the more an index weighs.
    """
    occupied = matrix != 0
    rows, columns = occupied.shape
    dense = _nbytes(rows * columns, bits)
    found: list[tuple[int, int, Layout]] = [(_two_four(occupied, bits), -2, TwoFour())] if _fits(occupied) else []
    for side, blocks in _pooled(occupied):
        if blocks.shape[1] <= _MOST_BLOCKS:
            block_rows, most = len(blocks), max(1, int(np.count_nonzero(blocks, axis=1).max()))
            area = side[0] * side[1]
            size = _nbytes(block_rows * most * area, bits) + 2 * block_rows * most
            found.append((size, -area, BlockSparse(*side)))
    size, _, layout = min(found, key=lambda entry: entry[:2], default=(dense, 0, Dense()))
    if size > (1 - _LEAST_SAVING) * dense:
        size, layout = dense, Dense()
    return Structure(float(occupied.mean()), layout, size, dense)


def _pooled(occupied: Array) -> Iterator[tuple[tuple[int, int], Array]]:
    """For every size of a block which blocks are not zero; each size is made from one half as large."""
    tall = occupied
    for bh in SIDES:
        tall = _halved(tall) if bh > 1 else tall
        wide = tall
        for bw in SIDES:
            wide = _halved(wide.T).T if bw > 1 else wide
            yield (bh, bw), wide


def _halved(blocks: Array) -> Array:
    """Joins rows 2i and 2i+1."""
    joined = blocks[::2].copy()
    joined[: len(blocks) // 2] |= blocks[1::2]
    return joined


def _fits(occupied: Array) -> bool:
    """Whether no group of four consecutive columns has more than two weights."""
    columns = occupied.shape[1]
    counts = np.add.reduceat(occupied, np.arange(0, columns, 4), axis=1, dtype=np.uint8)
    return bool(counts.max() <= 2)


def _two_four(occupied: Array, bits: float) -> int:
    rows, columns = occupied.shape
    groups = rows * -(-columns // 4)
    return _nbytes(2 * groups, bits) + _nbytes(groups, 4)


def _nbytes(count: int, bits: float) -> int:
    return int(np.ceil(count * bits / 8))


def _matched(weights: list[Weight], masks: Mapping[str, npt.ArrayLike]) -> dict[Weight, npt.NDArray[np.bool_]]:
    """The mask of each weight, checked."""
    named: dict[str, Weight] = {}
    for weight in weights:
        named.update((use.node.name, weight) for use in weight.value.uses() if use.node.name)
    named.update((weight.value.name, weight) for weight in weights if weight.value.name)
    found: dict[Weight, npt.NDArray[np.bool_]] = {}
    keys: dict[Weight, str] = {}
    problems = []
    for key, given in masks.items():
        named_weight, array = named.get(key), np.asarray(given)
        if named_weight is None:
            remedy = f"name the weight or its layer: {', '.join(weight.layer for weight in weights)}"
            problems.append(Problem(f"mask '{key}'", "the model has no such weight or layer", remedy))
            continue
        complaint = _complaint(array, named_weight)
        if named_weight in keys:
            complaint = f"'{keys[named_weight]}' is a mask of the same weight"
        if complaint:
            problems.append(Problem(f"mask '{key}' of layer {named_weight.layer}", complaint))
            continue
        keys[named_weight] = key
        found[named_weight] = array != 0
    if problems:
        raise DataError("masks cannot be applied:\n" + "\n".join(f"  - {problem}" for problem in problems))
    return found


def _complaint(mask: Array, weight: Weight) -> str:
    """What is wrong with a mask, empty if nothing."""
    assert weight.value.const_value is not None
    shape = tuple(weight.value.const_value.shape.numpy())
    if mask.shape != shape:
        return f"its shape is {list(mask.shape)}, that of the weight {list(shape)}"
    if mask.dtype.kind not in "biuf":
        return f"its dtype is {mask.dtype}; masks are bool, or numbers 0 and 1"
    if not np.isin(mask, (0, 1)).all():
        return "it has elements other than 0 and 1"
    return ""


def _apply(weight: Weight, mask: npt.NDArray[np.bool_]) -> float:
    """Removes what a mask does not keep, and tells which share of the magnitude that was."""
    constant = weight.value.const_value
    assert constant is not None
    before = constant.numpy()
    after = np.where(mask, before, np.float32(0))
    weight.value.const_value = ir.tensor(after, name=weight.value.name)
    total = float(np.abs(before).sum(dtype=np.float64))
    return 1 - float(np.abs(after).sum(dtype=np.float64)) / total if total else 0.0
