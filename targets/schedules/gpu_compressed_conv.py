"""Convolutions by compressed weights, read packed: 1x1, and k x k where blocks of channels were dropped tap by tap.

A work-item computes a few neighbouring output channels of four neighbouring pixels. Work-items side by side have
neighbouring pixels and the same weights, which the device loads for all of them at once. A block's columns are
channels of one tap, at a fixed distance from every pixel of the image, which is padded already. Without taps pixels are
counted across rows of the image.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from tvm import te, tirx

from tilewright.targets.schedules.cpu_fused import Fused, mark, take_apart
from tilewright.targets.schedules.cpu_ir import VECTORIZED, RegisterTile, broadcast, i64, i64s, loop, sequence
from tilewright.targets.schedules.cpu_spatial import Window
from tilewright.targets.schedules.gpu_common import GpuLimits, group_size, plain_floats, require
from tilewright.targets.schedules.gpu_decoder import Decoder, PackedBuffers, PackedOperands
from tilewright.targets.schedules.gpu_ir import bound, guarded, launch, ramp
from tilewright.targets.schedules.gpu_words import Words, vector

TEMPLATE = "gpu_compressed_conv"
_PIXELS = 4


@dataclass(frozen=True)
class Convolution:
    """One layer.

    Attributes:
        words: of the weights, with one lane.
        window: over an image of ``channels`` that is padded already, so itself without padding.
    """

    words: Words
    window: Window
    channels: int
    dtype: str = "float32"

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return self.window.batch, self.channels, self.window.height, self.window.width

    @property
    def out_shape(self) -> tuple[int, int, int, int]:
        w = self.window
        return w.batch, self.words.outputs, w.out_height, w.out_width

    @property
    def taps(self) -> int:
        return self.window.kernel_height * self.window.kernel_width

    @property
    def plane(self) -> int:
        """Pixels of a channel of the image."""
        return self.window.height * self.window.width

    @property
    def is_flat(self) -> bool:
        """Whether pixels of the output follow each other as those of the image do."""
        w = self.window
        return (w.out_height, w.out_width) == (w.height, w.width)

    @property
    def rows(self) -> tuple[int, int]:
        """How many rows of pixels there are in an image, and their length."""
        w = self.window
        return (1, w.out_height * w.out_width) if self.is_flat else (w.out_height, w.out_width)

    def offset(self, column: Any) -> Any:
        """How far from a pixel of the output the operand of a column of the matrix lies in the image.

        Columns are taps, then channels; those of padding, whose weights are zero, are taken for the last.
        """
        w = self.window
        if self.taps == 1:
            least = self.words.bw or self.words.columns
            channel = column if self.channels % least == 0 else tirx.min(column, i64(self.channels - 1))
            return channel * self.plane
        tap, channel = tirx.floordiv(column, self.channels), tirx.floormod(column, self.channels)
        i, j = tirx.floordiv(tap, w.kernel_width), tirx.floormod(tap, w.kernel_width)
        return channel * self.plane + i * (w.dilation_h * w.width) + j * w.dilation_w


def convolution(layer: Convolution) -> Any:
    """The PrimFunc (image NCHW, packed arrays as in gpu_decoder.py, float32 output NCHW) of a layer."""
    w, window = layer.words, layer.window
    data = te.placeholder(i64s(*layer.shape), layer.dtype, "data")
    column = te.reduce_axis((i64(0), i64(w.columns)), "column")
    weights = PackedOperands(w)

    def element(n: Any, output: Any, y: Any, x: Any) -> Any:
        place = layer.offset(weights.place(output, column))
        channel, inside = tirx.floordiv(place, layer.plane), tirx.floormod(place, layer.plane)
        row, across = tirx.floordiv(inside, window.width), tirx.floormod(inside, window.width)
        value = data(n, channel, y * window.stride_h + row, x * window.stride_w + across).astype("float32")
        return te.sum(weights.multiplied(value, output, column), axis=column)

    marks = mark(TEMPLATE, **asdict(layer))
    result = te.compute(i64s(*layer.out_shape), element, name="compressed_conv", attrs=marks)
    return te.create_prim_func([data, *weights.operands, result]).with_attr("op_pattern", 4)


def schedule(func: Any, limits: GpuLimits) -> Any:
    """The kernel of a fused ``convolution`` of this file.

    Raises:
        NotApplicable: it is something else.
    """
    fused = take_apart(func, TEMPLATE)
    require(fused is not None, "no convolution by compressed weights")
    assert fused is not None
    p = dict(fused.parameters)
    layer = Convolution(Words(**p.pop("words")), Window(**p.pop("window")), **p)
    left = list(fused.operands)
    data = left.pop(0)
    return fused.finish(_Emitter(fused, layer, limits, data, PackedBuffers.take(layer.words, left)).kernel())


class _Emitter:
    def __init__(self, fused: Fused, layer: Convolution, limits: GpuLimits, data: Any, buffers: PackedBuffers) -> None:
        self.fused, self.layer, self.limits = fused, layer, limits
        self.data, self.buffers = data, buffers

    def kernel(self) -> Any:
        layer = self.layer
        rows, length = layer.rows
        self.across = -(-length // _PIXELS)
        total = layer.window.batch * layer.words.tiles * rows * self.across
        group = group_size(total, self.limits)
        return launch(
            [("blockIdx.x", -(-total // group)), ("threadIdx.x", group)],
            lambda block, thread: guarded(
                [block * group + thread < total] if total % group else [], self._item(block * group + thread)
            ),
        )

    def _item(self, number: Any) -> Any:
        layer, w = self.layer, self.layer.words
        rows, _ = layer.rows
        length = layer.rows[1]
        self.own = self.first = tirx.floormod(number, self.across) * _PIXELS  # pixel of its row
        if length % _PIXELS and length >= _PIXELS:  # the last four pixels, some of which others store
            self.first = tirx.min(self.own, i64(length - _PIXELS))
        rest = tirx.floordiv(number, self.across)
        self.row, rest = tirx.floormod(rest, rows), tirx.floordiv(rest, rows)
        self.image = tirx.floordiv(rest, w.tiles)
        self.weights = Decoder(w, self.buffers, tirx.floormod(rest, w.tiles), i64(0))
        self.x = tirx.decl_buffer(i64s(_PIXELS), "float32", name="x", scope="local")
        self.w = tirx.decl_buffer(i64s(w.rows), "float32", name="w", scope="local")
        acc = RegisterTile.make(w.rows, 1, _PIXELS)
        length = w.group // w.chunk if w.group else 1

        def span(number: Any) -> Any:
            if not w.group:
                return sequence(self._chunk(number, acc))
            chunks: Any = length
            if w.chunks % length:
                chunks = tirx.min(i64(length), w.chunks - number * length)
            # Weights are scaled one by one: sums of a group beside all others take too many registers.
            self.scale, scale = bound(vector("float32", w.rows), "scale", self.weights.scale(number))
            step = loop(chunks, lambda t: sequence(self._chunk(number * length + t, acc)), name="chunk")
            return sequence([*self.weights.open_group(number), scale, step])

        statements = [tirx.AllocBuffer(self.x), tirx.AllocBuffer(self.w), *acc.fill(0)]
        statements += [] if w.group else self.weights.open_group(i64(0))
        statements.append(loop(-(-w.chunks // length), span, name="span"))
        return sequence([*statements, *self._store(acc)])

    # -- one chunk of columns

    def _chunk(self, chunk: Any, acc: RegisterTile) -> list[Any]:
        w = self.layer.words
        statements = self.weights.open(chunk)
        for column in range(w.chunk):
            weight, before = self.weights.weight(column)
            weight = weight * self.scale if w.group else weight
            statements += [*before, tirx.BufferStore(self.w, weight, [ramp(i64(0), w.rows)])]
            statements += self._load(self._place(chunk, column))
            x = tirx.BufferLoad(self.x, [ramp(i64(0), _PIXELS)])
            for row in range(w.rows):
                value = broadcast(tirx.BufferLoad(self.w, [i64(row)]), _PIXELS)
                statements.append(acc.combine(row, 0, lambda old, value=value, x=x: old + x * value))  # type: ignore[misc]
        return statements

    def _place(self, chunk: Any, column: int) -> Any:
        """How far from a pixel's first channel the operand of a column lies."""
        layer, w = self.layer, self.layer.words
        at = chunk * w.chunk + column
        if w.bw:
            block, inside = tirx.floordiv(at, w.bw), tirx.floormod(at, w.bw)
            place = tirx.BufferLoad(self.buffers.index, [block, tirx.floordiv(self.weights.first, w.bh)])
            at = place.astype("int64") * w.bw + inside
        return layer.offset(at)

    def _load(self, place: Any) -> list[Any]:
        """The four pixels of a channel; the last one again beyond the last."""
        layer, window = self.layer, self.layer.window
        _, length = layer.rows
        image = self.image * (layer.channels * layer.plane)
        start = self.first if layer.is_flat else self.row * (window.stride_h * window.width) + self.first
        aligned = layer.is_flat and length % _PIXELS == 0
        if window.stride_w == 1 and length >= _PIXELS and (aligned or self.limits.unaligned):
            if aligned:
                value = tirx.BufferLoad(self.data, [*self._zeros(), ramp(image + place + start, _PIXELS)])
            else:  # TVM has vectors loaded one by one that may not be aligned
                first = tirx.BufferLoad(self.data, [*self._zeros(), image + place + start])
                value = tirx.call_pure_extern(vector(layer.dtype, _PIXELS), "vload4", 0, tirx.address_of(first))
            return [tirx.BufferStore(self.x, value.astype("float32x4"), [ramp(i64(0), _PIXELS)])]
        found = []
        for number in range(_PIXELS):
            pixel = self.first + number
            pixel = tirx.min(pixel, i64(length - 1)) if length < _PIXELS else pixel
            at = pixel if layer.is_flat else self.row * window.stride_h * window.width + pixel * window.stride_w
            value = tirx.BufferLoad(self.data, [*self._zeros(), image + place + at]).astype("float32")
            found.append(tirx.BufferStore(self.x, value, [i64(number)]))
        return found

    def _zeros(self) -> list[Any]:
        return [i64(0)] * 3  # flat places, counted along the last axis

    # -- results

    def _store(self, total: RegisterTile) -> list[Any]:
        layer, w = self.layer, self.layer.words
        _, length = layer.rows
        found = []
        for row in range(w.rows):
            output = self.weights.first + row
            inside = [output < w.outputs] if w.outputs % w.rows else []
            if length % _PIXELS == 0 and layer.window.out_width % _PIXELS == 0:
                statement = self._store_one(total, row, output, i64(0))
                if plain_floats(statement):

                    def one(pixel: Any, row: int = row, output: Any = output) -> Any:
                        return self._store_one(total, row, output, pixel)

                    found.append(guarded(inside, loop(_PIXELS, one, VECTORIZED)))
                    continue
            for pixel in range(_PIXELS):
                exists = [self.first + pixel >= self.own] if length % _PIXELS else []
                exists = [i64(pixel) < length] if length < _PIXELS else exists
                found.append(guarded([*inside, *exists], self._store_one(total, row, output, i64(pixel))))
        return found

    def _store_one(self, total: RegisterTile, row: int, output: Any, pixel: Any) -> Any:
        layer, width = self.layer, self.layer.window.out_width
        place = self.first + pixel
        y, x = (tirx.floordiv(place, width), tirx.floormod(place, width)) if layer.is_flat else (self.row, place)
        value = tirx.BufferLoad(total.buffer, [i64(row * _PIXELS) + pixel])
        return self.fused.store([self.image, output, y, x], value)
