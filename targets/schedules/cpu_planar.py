"""Block-sparse products for many rows, and convolutions of planes: lanes are rows or pixels, weights are broadcast.

With a tile of rows a block's columns are as many cache lines as there are rows, and activations of a large batch leave
the first-level cache. Transposed, a column is one line. Each vector of activations meets all outputs of a block. At
the end the sums of a block row, outputs by rows, are transposed back in registers; a convolution stores planes as it
read them, which saves networks that are channels first around it two transpositions.

Activations are float32 [depth][rows] or [channels][height][width], or bytes with four neighbouring columns or channels
innermost. Rows are padded to whole vectors, images by the window's padding: where they are quantized they are moved
anyway. Floats need not be, if loads can be masked and the result is as large as the image: a tap is then one distance
for all pixels, and a mask for each vector and tap says which lanes are beyond the image's edges.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from tvm import te, tirx

from tilewright.targets.schedules.cpu_blocks import Blocks
from tilewright.targets.schedules.fused import mark
from tilewright.targets.schedules.ir import i64, i64s, unflatten
from tilewright.targets.schedules.window import Window

_SUMS = 8  # multiply-adds that are under way at a time: of two units with a latency of four cycles


@dataclass(frozen=True)
class Planar:
    """One layer.

    Attributes:
        data_shape: of the staged activations: [words, rows * weights in a word], or [1, words, height, width] with the
            weights of a word innermost if they are bytes.
        batch: shape of a product's output without its last axis; its product is the number of rows. () for a window.
        window: of a convolution with strides of 1 over the padded image, or over the bare one with its padding.
        offset: subtracted from bytes (see ``Dot``).
    """

    blocks: Blocks
    data_shape: tuple[int, ...]
    batch: tuple[int, ...] = ()
    window: Window | None = None
    offset: int = 0

    @property
    def integer(self) -> bool:
        """Whether activations are bytes."""
        return self.blocks.word == 4

    @property
    def plane(self) -> int:
        """Elements from one word of columns to the next."""
        return math.prod(self.data_shape[1:] if self.window is None else self.data_shape[2:])

    @property
    def data_dtype(self) -> str:
        return "uint8" if self.integer else "float32"

    @property
    def out_shape(self) -> tuple[int, ...]:
        w = self.window
        if w is None:
            return (*self.batch, self.blocks.outputs)
        return w.batch, self.blocks.outputs, w.out_height, w.out_width

    @property
    def out_dtype(self) -> str:
        return "int32" if self.integer else "float32"

    @property
    def rows(self) -> int:
        """Rows or pixels."""
        w = self.window
        return math.prod(self.batch) if w is None else w.out_height * w.out_width

    @property
    def is_flat(self) -> bool:
        """Whether the pixels of the output follow each other as those of the input do."""
        w = self.window
        return w is None or (w.out_height, w.out_width) == (w.height, w.width)

    @property
    def is_bare(self) -> bool:
        """Whether the window reaches over the edges of the image, which is not padded."""
        w = self.window
        return w is not None and self.is_flat and w.kernel_height * w.kernel_width > 1


def offsets(layer: Planar) -> list[int]:
    """Where the columns of each block column are, counted from a pixel's first element."""
    w, b = layer.window, layer.blocks
    assert w is not None
    channels = layer.data_shape[1] * b.word
    return [
        c // b.word * layer.plane + (w.row(0, i) * w.width + w.column(0, j)) * b.word
        for i in range(w.kernel_height)
        for j in range(w.kernel_width)
        for c in range(0, channels, b.bw)
    ]


def edges(layer: Planar) -> npt.NDArray[np.int32]:
    """Which lanes of a vector of pixels meet a bare image at a tap: int32, flat.

    For each vector, the last being the last whole one, where its masks begin in this array; then the masks, one a tap
    and a bit a lane. Vectors share them, or large images would have more of these than weights.
    """
    w, lanes = layer.window, layer.blocks.lanes
    assert w is not None
    first = np.minimum(np.arange(0, layer.rows, lanes), layer.rows - lanes)
    y, x = np.divmod(first[:, None] + np.arange(lanes), w.out_width)
    found = [
        (w.row(y, i) >= 0) & (w.row(y, i) < w.height) & (w.column(x, j) >= 0) & (w.column(x, j) < w.width)
        for i in range(w.kernel_height)
        for j in range(w.kernel_width)
    ]
    masks, which = np.unique(np.stack([met @ (1 << np.arange(lanes)) for met in found], 1), axis=0, return_inverse=True)
    starts = len(first) + which.reshape(-1) * len(found)
    return np.concatenate([starts, masks.reshape(-1)]).astype(np.int32)


def reads_bare(blocks: Blocks, window: Window) -> bool:
    """Whether a float image need not be padded. AVX-512 masks loads at little cost, and what is masked is not read."""
    w = window
    return blocks.lanes == 16 and (w.out_height, w.out_width) == (w.height, w.width) and w.height * w.width >= 16


def suits(blocks: Blocks, rows: int) -> bool:
    """Whether lanes are better filled with rows: there are enough, and a block row's sums fit into registers."""
    return blocks.sparse and not blocks.group and 2 * rows > blocks.lanes and blocks.bh <= blocks.lanes


def suits_window(blocks: Blocks, window: Window, bare: bool) -> bool:
    """The same of a convolution, whose lanes are pixels of one row, or of all rows where they follow each other.

    Small images have enough of the latter only. At 4x4 to 8x8 that took 5 to 57 % less time than the kernel whose lanes
    are outputs; with blocks of four outputs, whose sums are fewer than a core's multiply-adds under way, a tenth more.
    """
    w = window
    pixels = w.out_height * w.out_width
    follow = bare or (w.kernel_height * w.kernel_width == 1 and pixels == w.height * w.width)
    whole = follow and pixels >= blocks.lanes and blocks.bh >= _SUMS
    return suits(blocks, pixels if whole else w.out_width)


def planar(layer: Planar) -> Any:
    """The PrimFunc (activations of ``data_shape``, index, [table of ``offsets``, [``edges``]], values, output)."""
    b, w = layer.blocks, layer.window
    data = te.placeholder(i64s(*layer.data_shape), layer.data_dtype, "data")
    index = te.placeholder(i64s(b.block_rows, b.k), "uint16", "index")
    values = te.placeholder(i64s(*b.values_shape), b.values_dtype, "values")
    table = None if w is None else te.placeholder(i64s(len(offsets(layer))), "int32", "table")
    inside = te.placeholder(i64s(*edges(layer).shape), "int32", "edges") if layer.is_bare else None
    block = te.reduce_axis((i64(0), i64(b.used)), "block")
    inner = te.reduce_axis((i64(0), i64(b.bw)), "inner")

    def activation(at: Sequence[Any], column: Any) -> Any:
        word, rest = tirx.floordiv(inner, b.word), tirx.floormod(inner, b.word)
        if table is None or w is None:
            row: Any = i64(0)
            for size, place in zip(layer.batch, at, strict=True):
                row = row * size + place
            return data[column * (b.bw // b.word) + word, row * b.word + rest]
        start = table[column].astype("int64")
        if inside is not None:
            pixel = at[1] * w.width + at[2]
            vector, place = tirx.floordiv(pixel, b.lanes), start + pixel + inner * layer.plane
            lane = pixel - tirx.min(vector * b.lanes, i64(layer.rows - b.lanes))
            tap = tirx.floordiv(column * b.bw, layer.data_shape[1])
            met = inside[inside[vector].astype("int64") + tap] >> lane.astype("int32") & 1
            value = data(at[0], *unflatten(place, layer.data_shape[1:]))
            return tirx.if_then_else(met == 1, value, tirx.const(0, "float32"))
        pixel = tirx.floordiv(tirx.floormod(start, layer.plane), b.word)
        y, x = tirx.floordiv(pixel, w.width) + at[1], tirx.floormod(pixel, w.width) + at[2]
        place = [at[0], tirx.floordiv(start, layer.plane) + word, y, x]
        return data(*place, rest) if layer.integer else data(*place)

    def element(*at: Any) -> Any:
        output, rows = (at[-1], at[:-1]) if w is None else (at[1], (at[0], *at[2:]))
        block_row, inside = tirx.floordiv(output, b.bh), tirx.floormod(output, b.bh)
        x = activation(rows, index[block_row, block].astype("int64"))
        weight = b.decode_one(lambda *i: values(*i), block_row, block, b.position(inside, inner))
        product = (x.astype("int32") - layer.offset) * weight if layer.integer else x * weight.astype("float32")
        return te.sum(product, axis=[block, inner])

    result = te.compute(i64s(*layer.out_shape), element, name="planar", attrs=mark("planar", **asdict(layer)))
    tables = [each for each in (table, inside) if each is not None]
    return te.create_prim_func([data, index, *tables, values, result]).with_attr("op_pattern", 4)
