"""Products by ASTC blocks, which are decoded in the kernel: OpenCL cannot sample ASTC.

A work-item reads block after block of one block row, 16 bytes each, side by side with its neighbours. Where the bits of
a block lie is known, so that the format's element decoder, evaluated for every texel of a block, comes down to shifts,
masks and small tables; what texels share is computed once. Scales of rows follow in the epilogue.

Of a sparse layout the blocks are those of what it keeps: a texel's column of the matrix stands in the layout's index,
once for all texels of a column where sparse blocks are as high as whole blocks of texels, else for each of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from tvm import te, tirx

from tilewright.formats.codecs.astc.codec import ZERO, Astc
from tilewright.formats.codecs.astc.element import decoder
from tilewright.formats.codecs.astc.encode import scheme_of
from tilewright.formats.codecs.astc.modes import BLOCK_BYTES
from tilewright.formats.element import Element
from tilewright.formats.layouts.block_sparse import BlockSparse
from tilewright.formats.layouts.dense import Dense
from tilewright.formats.registry import Format
from tilewright.targets.schedules.fused import Fused, mark, take_apart
from tilewright.targets.schedules.gpu_common import GpuLimits, require
from tilewright.targets.schedules.gpu_ir import bound, ramp
from tilewright.targets.schedules.gpu_row_kernel import Grid, RowKernel, splits_for, tile_for
from tilewright.targets.schedules.ir import RegisterTile, i64, i64s, sequence

Array = npt.NDArray[Any]

TEMPLATE = "gpu_astc"
_WORDS = BLOCK_BYTES // 4  # of 32 bits in a block
_MOST_TEXELS = 64
_LAST_BLOCK = (1 << 16) - 1  # that an index can name
_MOST_ROWS = 8  # a weight takes some twenty operations to decode


@dataclass(frozen=True)
class AstcProduct:
    """One layer.

    Attributes:
        width, height, levels: of a block, see the codec ``astc``.
        outputs: of the layer.
        shape: of the activations, [*batch, rows, depth]; depth padded to whole blocks of texels or, where they are
            sparse, to those of the layout, and one of zeros after them, which columns of padding stand for.
        bh, bw: outputs and columns of a sparse block; 0 for dense matrices.
        columns: that a sparse layout keeps, padded to whole blocks of texels.
        lanes, tile, splits: see Grid.
    """

    width: int
    height: int
    levels: int | None
    outputs: int
    shape: tuple[int, ...]
    dtype: str = "float32"
    bh: int = 0
    bw: int = 0
    columns: int = 0
    lanes: int = 4
    tile: int = 1
    splits: int = 1

    @property
    def grid(self) -> Grid:
        return Grid(self.outputs, self.height, self.lanes, self.tile, self.splits)

    @property
    def rows(self) -> int:
        return math.prod(self.shape[:-1])

    @property
    def scattered(self) -> bool:
        """Whether texels of one column may stand in different columns of the matrix."""
        return bool(self.bw and self.bh % self.height)

    @property
    def across(self) -> int:
        """Blocks of a block row."""
        return (self.columns or self.shape[-1]) // self.width

    @property
    def index_shape(self) -> tuple[int, int]:
        """Of the sparse layout's index, transposed, so that lanes read neighbouring entries."""
        outputs = self.grid.tiles * self.lanes * self.height
        return -(-self.columns // self.bw), -(-outputs // self.bh)

    @property
    def kept(self) -> int:
        """Values of a block that texels share: two endpoints and all weights."""
        return 2 + self.width * self.height

    @property
    def out_shape(self) -> tuple[int, ...]:
        return (*self.shape[:-1], self.outputs)

    @property
    def values_shape(self) -> tuple[int, int, int, int]:
        return self.grid.tiles, self.across, self.lanes, _WORDS

    def tiled(self, limits: GpuLimits) -> AstcProduct:
        """The same layer with its tile and splits chosen."""
        most = max(1, limits.accumulators // self.height)
        sized = replace(self, tile=tile_for(self.rows, most), lanes=min(self.lanes, -(-self.outputs // self.height)))
        return replace(sized, splits=splits_for(sized.grid, self.rows, self.across, limits))

    def pack(self, blocks: Array) -> Array:
        """Blocks, uint8 [block rows, block columns, 16], as int32 of ``values_shape``."""
        tiles, across, lanes, _ = self.values_shape
        padded = np.zeros((tiles * lanes, across, BLOCK_BYTES), np.uint8)
        rows = min(len(padded), len(blocks))
        padded[:rows] = blocks[:rows]
        words = padded.view("<i4").reshape(tiles, lanes, across, _WORDS)
        return np.ascontiguousarray(words.transpose(0, 2, 1, 3))

    def pack_index(self, index: Array) -> Array:
        """The index of a sparse layout [block rows, k], uint16 of ``index_shape``; padding is the block of zeros."""
        padded = np.full(self.index_shape[::-1], self.shape[-1] // self.bw - 1, np.uint16)
        rows = min(len(padded), len(index))
        padded[:rows, : index.shape[1]] = index[:rows]
        return np.ascontiguousarray(padded.T)


def has_kernel(form: Format, rows: int, columns: int) -> bool:
    """Whether blocks of a format, which every few rows of activations meet anew, have a form that kernels decode: a
    weight for each of not too many texels, none of them dropped. The index of a sparse layout counts one block more
    than the matrix has columns for."""
    codec, layout = form.codec, form.layout
    if not isinstance(codec, Astc) or not isinstance(layout, Dense | BlockSparse) or rows > _MOST_ROWS:
        return False
    if isinstance(layout, BlockSparse) and layout.grid((1, columns))[1] > _LAST_BLOCK:
        return False
    return codec.scheme is not None and codec.scheme.direct and codec.width * codec.height <= _MOST_TEXELS


def product(layer: AstcProduct) -> Any:
    """The PrimFunc (activations, [index], blocks, ``table_of``, float32 output) of a layer, not scaled yet."""
    data = te.placeholder(i64s(*layer.shape), layer.dtype, "data")
    index = te.placeholder(i64s(*layer.index_shape), "uint16", "index") if layer.bw else None
    values = te.placeholder(i64s(*layer.values_shape), "int32", "blocks")
    table = te.placeholder(i64s(len(table_of(layer))), "int32", "table")
    column = te.reduce_axis((i64(0), i64(layer.across * layer.width)), "column")

    def element(*at: Any) -> Any:
        *row, output = at
        block, down = tirx.floordiv(output, layer.height), tirx.floormod(output, layer.height)
        along, across = tirx.floordiv(column, layer.width), tirx.floormod(column, layer.width)
        tile, lane = tirx.floordiv(block, layer.lanes), tirx.floormod(block, layer.lanes)
        decoding = _Decoding(layer, [values(tile, along, lane, word) for word in range(_WORDS)], table)
        texel, weight = down * layer.width + across, tirx.const(0, "float32")
        for number in range(layer.width * layer.height):
            value, _ = decoding.weight(*divmod(number, layer.width))
            weight = tirx.if_then_else(texel < number, weight, value)
        place = column if index is None else _place(layer, lambda *at: index(*at), output, column)
        return te.sum(data(*row, place).astype("float32") * weight, axis=column)

    result = te.compute(i64s(*layer.out_shape), element, name="astc", attrs=mark(TEMPLATE, **asdict(layer)))
    operands = [data, *([] if index is None else [index]), values, table, result]
    return te.create_prim_func(operands).with_attr("op_pattern", 4)


def _place(layer: AstcProduct, index: Callable[..., Any], output: Any, column: Any) -> Any:
    """The column of the matrix that a column of what a sparse layout keeps is."""
    block = index(tirx.floordiv(column, layer.bw), tirx.floordiv(output, layer.bh)).astype("int64")
    return block * layer.bw + tirx.floormod(column, layer.bw)


def schedule(func: Any, limits: GpuLimits) -> Any:
    """The kernel of a fused ``astc`` of this file.

    Raises:
        NotApplicable: it is something else.
    """
    fused = take_apart(func, TEMPLATE)
    require(fused is not None, f"no {TEMPLATE}")
    assert fused is not None
    p = dict(fused.parameters)
    layer = AstcProduct(**{**p, "shape": tuple(p["shape"])})
    data, *others = fused.operands
    index = others.pop(0) if layer.bw else None
    (values,) = (buffer for buffer in others if len(buffer.shape) > 1)
    (table,) = (buffer for buffer in others if len(buffer.shape) == 1)
    return fused.finish(_Emitter(fused, layer, data, values, table, index).kernel())


@cache
def table_of(layer: AstcProduct) -> Array:
    """The lookup tables that a kernel needs one after the other, int32."""
    decoding = _Decoding(layer, [tirx.Var("word", "int32")] * _WORDS, None)
    for texel in range(layer.height * layer.width):
        decoding.weight(*divmod(texel, layer.width))
    return np.concatenate(decoding.tables)


class _Emitter(RowKernel):
    def __init__(self, fused: Fused, layer: AstcProduct, data: Any, values: Any, table: Any, index: Any) -> None:
        super().__init__(fused, data, layer.shape, layer.grid)
        self.layer, self.values, self.table, self.index = layer, values, table, index

    def item(self, tile: Any, lane: Any, split: Any) -> tuple[list[Any], Any]:
        layer = self.layer
        acc = RegisterTile.make(layer.tile * layer.height, 1, 1)
        words = tirx.decl_buffer(i64s(_WORDS), "int32", name="words", scope="local")
        shared = tirx.decl_buffer(i64s(layer.kept), "int32", name="parts", scope="local")
        weight = tirx.decl_buffer(i64s(1), "float32", name="w", scope="local")

        def block(number: Any) -> Any:
            load = tirx.BufferLoad(self.values, [tile, number, lane, ramp(i64(0), _WORDS)])
            statements = [tirx.BufferStore(words, load, [ramp(i64(0), _WORDS)])]
            parts = [tirx.BufferLoad(words, [i64(word)]) for word in range(_WORDS)]
            decoding = _Decoding(layer, parts, lambda at: tirx.BufferLoad(self.table, [at]), shared)
            for column, output in self._texels():
                if output == 0 or layer.scattered:
                    xs, before = self._activations(output, number * layer.width + column)
                    statements += before
                value, before = decoding.weight(output, column)
                statements += [*before, tirx.BufferStore(weight, value, i64s(0))]
                for row, x in enumerate(xs):
                    at = [i64(row * layer.height + output)]
                    total = tirx.BufferLoad(acc.buffer, at) + x * tirx.BufferLoad(weight, i64s(0))
                    statements.append(tirx.BufferStore(acc.buffer, total, at))
            return sequence(statements)

        memory = [tirx.AllocBuffer(buffer) for buffer in (words, shared, weight)]
        return [*memory, *acc.fill(0), self.shared_loop(layer.across, split, block)], acc.buffer

    def _texels(self) -> list[tuple[int, int]]:
        """Columns and outputs of a block's texels, such that those side by side share activations, or else an index."""
        columns, outputs = range(self.layer.width), range(self.layer.height)
        if self.layer.scattered:
            return [(column, output) for output in outputs for column in columns]
        return [(column, output) for column in columns for output in outputs]

    def _activations(self, output: int, column: Any) -> tuple[list[Any], list[Any]]:
        """What one of the work-item's outputs meets in a column, for each row, and the statements that load it."""
        layer = self.layer
        if layer.bw:
            column = _place(layer, lambda *at: tirx.BufferLoad(self.index, list(at)), self.first + output, column)
        loads = [tirx.BufferLoad(self.data, [*self.place(row), column]).astype("float32") for row in range(layer.tile)]
        pairs = [bound("float32", "x", load) for load in loads]
        return [x for x, _ in pairs], [statement for _, statement in pairs]


class _Decoding:
    """Ops of the element decoder for one block whose words are at hand; texels and bits are numbers, not expressions.

    Attributes:
        tables: those that were asked for with an expression as index.
    """

    def __init__(
        self, layer: AstcProduct, words: list[Any], load: Callable[[Any], Any] | None, memory: Any = None
    ) -> None:
        """
        Args:
            words: of the block, int32.
            load: an element of ``table_of``; None to find out what is in it.
            memory: a buffer for what texels share, int32, as many as ``AstcProduct.kept``; None to compute it anew.
        """
        self.layer, self.words, self.load, self.memory = layer, words, load, memory
        self.tables: list[Array] = []
        self.kept: list[Any] = []  # statements that fill the memory, so far
        scheme = scheme_of((layer.width, layer.height), layer.levels)
        loads = {"blocks": _Bytes(words), "scales": _One()}
        self.element = decoder(self, loads, (layer.height, layer.width), scheme, ZERO)

    def weight(self, row: int, column: int) -> tuple[Any, list[Any]]:
        """The weight of a texel, but for its row's scale, and statements to be executed before."""
        before = len(self.kept)
        value = self.element(row, column)
        return value, self.kept[before:]

    def table(self, values: npt.ArrayLike) -> Any:
        return _Table(self, np.asarray(values, np.int32))

    def where(self, condition: Any, yes: Any, no: Any) -> Any:
        return yes if condition else no  # conditions are about places of bits

    def shift_right(self, value: _Shifted, count: int) -> _Shifted:
        return _Shifted(value.word, value.start + count)

    def share(self, value: Any) -> Any:
        return value

    def compute(self, shape: Any, element: Element, dtype: str, needed: Element | None = None) -> Any:
        return _Once(self, element)

    def exclusive_sum(self, values: Any, count: Any) -> Any:
        raise NotImplementedError

    def positions(self, index: Any, shape: Any, columns: Any) -> Any:
        raise NotImplementedError

    def look_up(self, values: Array, index: Any) -> Any:
        """An element of a table in memory."""
        start = 0
        for known in self.tables:
            if np.array_equal(known, values):
                break
            start += len(known)
        else:
            self.tables.append(values)
        at = index if start == 0 else index + start
        return at if self.load is None else self.load(at)


class _Table:
    """A constant lookup table: numbers give numbers, expressions give loads."""

    def __init__(self, decoding: _Decoding, values: Array) -> None:
        self.decoding, self.values = decoding, values
        self.identity = np.array_equal(values, np.arange(len(values)))

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, int):
            return int(self.values[index])
        return index if self.identity else self.decoding.look_up(self.values, index)


class _Once:
    """Values that texels share, each kept when it is first asked for."""

    def __init__(self, decoding: _Decoding, element: Callable[[Any, Any], Any]) -> None:
        self.decoding, self.element = decoding, element
        self.known: dict[Any, Any] = {}

    def __getitem__(self, place: Any) -> Any:
        if place not in self.known:
            self.known[place] = value = self.element(*place)
            if self.decoding.memory is not None:
                at = [i64(len(self.decoding.kept))]
                self.decoding.kept.append(tirx.BufferStore(self.decoding.memory, value, at))
                self.known[place] = tirx.BufferLoad(self.decoding.memory, at)
        return self.known[place]


class _Bytes:
    """Bytes of the block by number."""

    def __init__(self, words: list[Any]) -> None:
        self.words = words

    def __getitem__(self, number: int) -> _Shifted:
        return _Shifted(self.words[number // 4], 8 * (number % 4))


@dataclass(frozen=True)
class _Shifted:
    """A word from one of its bits on, of which only the lowest bits will be asked for: TVM takes long to see that the
    remainder of what is left of a byte is but one of the word's bits."""

    word: Any
    start: int

    def __mod__(self, divisor: int) -> Any:
        return (self.word >> self.start if self.start else self.word) & (divisor - 1)


class _One:
    """Scales: they come in the epilogue."""

    def __getitem__(self, row: Any) -> Any:
        return tirx.const(1, "float32")
