"""Kernels of convolutions by compressed weights, read packed.

A work-item computes a few neighbouring output channels of four neighbouring pixels. Work-items side by side have
neighbouring pixels and the same weights, which the device loads for all of them at once. A block's columns are
channels of one tap, at a fixed distance from every pixel of the image, which is padded already. Without taps pixels are
counted across rows of the image.
"""

from __future__ import annotations

from typing import Any

from tvm import tirx

from tilewright.targets.schedules.fused import Fused
from tilewright.targets.schedules.gpu_common import GpuLimits, group_size, plain_floats
from tilewright.targets.schedules.gpu_convolution import PIXELS, TEMPLATE, Convolution
from tilewright.targets.schedules.gpu_decoder import FOUR, Decoder, PackedBuffers, opened
from tilewright.targets.schedules.gpu_dot import dot
from tilewright.targets.schedules.gpu_ir import bound, guarded, launch, ramp
from tilewright.targets.schedules.gpu_words import vector
from tilewright.targets.schedules.ir import VECTORIZED, RegisterTile, broadcast, i64, i64s, loop, sequence
from tilewright.targets.schedules.window import Window


def schedule(func: Any, limits: GpuLimits) -> Any:
    """The kernel of a fused ``gpu_convolution.convolution``.

    Raises:
        NotApplicable: it is something else.
    """
    fused, words, p, data, buffers = opened(func, TEMPLATE)
    layer = Convolution(words, Window(**p.pop("window")), **p)
    return fused.finish(_Emitter(fused, layer, limits, data, buffers).kernel())


class _Emitter:
    def __init__(self, fused: Fused, layer: Convolution, limits: GpuLimits, data: Any, buffers: PackedBuffers) -> None:
        self.fused, self.layer, self.limits = fused, layer, limits
        self.data, self.buffers = data, buffers

    def kernel(self) -> Any:
        layer = self.layer
        rows, length = layer.rows
        self.across = -(-length // PIXELS)
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
        self.own = self.first = tirx.floormod(number, self.across) * PIXELS  # pixel of its row
        if length % PIXELS and length >= PIXELS:  # the last four pixels, some of which others store
            self.first = tirx.min(self.own, i64(length - PIXELS))
        rest = tirx.floordiv(number, self.across)
        self.row, rest = tirx.floormod(rest, rows), tirx.floordiv(rest, rows)
        self.image = tirx.floordiv(rest, w.tiles)
        self.weights = Decoder(w, self.buffers, tirx.floormod(rest, w.tiles), i64(0))
        dtype = "int32" if layer.integer else "float32"
        self.x = tirx.decl_buffer(i64s(PIXELS), dtype, name="x", scope="local")
        self.w = tirx.decl_buffer(i64s(w.rows), dtype, name="w", scope="local")
        acc = RegisterTile.make(w.rows, 1, PIXELS, dtype=dtype)
        length = w.group // w.chunk if w.group else 1

        def span(number: Any) -> Any:
            if not w.group:
                return sequence(self._chunk(number, acc))
            chunks: Any = length
            if w.chunks % length:
                chunks = tirx.min(i64(length), w.chunks - number * length)
            zeros = self.weights.open_group(number)  # before chunks, which ask for what it binds
            # Weights are scaled one by one: sums of a group beside all others take too many registers.
            self.scale, scale = bound(vector("float32", w.rows), "scale", self.weights.scale(number))
            step = loop(chunks, lambda t: sequence(self._chunk(number * length + t, acc)), name="chunk")
            return sequence([*zeros, scale, step])

        statements = [tirx.AllocBuffer(self.x), tirx.AllocBuffer(self.w), *acc.fill(0)]
        statements += [] if w.group else self.weights.open_group(i64(0))
        statements.append(loop(-(-w.chunks // length), span, name="span"))
        return sequence([*statements, *self._store(acc)])

    # -- one chunk of columns

    def _chunk(self, chunk: Any, acc: RegisterTile) -> list[Any]:
        w = self.layer.words
        statements = self.weights.open(chunk)
        if self.layer.integer:
            return [*statements, *(s for column in range(0, w.chunk, FOUR) for s in self._four(chunk, column, acc))]
        for column in range(w.chunk):
            weight, before = self.weights.weight(column)
            weight = weight * self.scale if w.group else weight
            statements += [*before, tirx.BufferStore(self.w, weight, [ramp(i64(0), w.rows)])]
            statements += self._load(self._place(chunk, column))
            x = tirx.BufferLoad(self.x, [ramp(i64(0), PIXELS)])
            for row in range(w.rows):
                value = broadcast(tirx.BufferLoad(self.w, [i64(row)]), PIXELS)
                statements.append(acc.combine(row, 0, lambda old, value=value, x=x: old + x * value))  # type: ignore[misc]
        return statements

    def _four(self, chunk: Any, column: int, acc: RegisterTile) -> list[Any]:
        """Four columns as bytes."""
        rows = self.layer.words.rows
        statements = [tirx.BufferStore(self.w, self.weights.four(column), [ramp(i64(0), rows)])]
        statements += self._load(self._place(chunk, column))
        for row in range(rows):
            for pixel in range(PIXELS):
                at = [i64(acc.offset(row, 0) + pixel)]
                weight, x = tirx.BufferLoad(self.w, [i64(row)]), tirx.BufferLoad(self.x, [i64(pixel)])
                statements.append(tirx.BufferStore(acc.buffer, dot(weight, x, tirx.BufferLoad(acc.buffer, at)), at))
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
        image = self.image * (layer.shape[1] * layer.plane)
        dtype = str(self.x.dtype)
        start = self.first if layer.is_flat else self.row * (window.stride_h * window.width) + self.first
        aligned = layer.is_flat and length % PIXELS == 0
        if window.stride_w == 1 and length >= PIXELS and (aligned or self.limits.unaligned):
            if aligned:
                value = tirx.BufferLoad(self.data, [*self._zeros(), ramp(image + place + start, PIXELS)])
            else:  # TVM has vectors loaded one by one that may not be aligned
                first = tirx.BufferLoad(self.data, [*self._zeros(), image + place + start])
                value = tirx.call_pure_extern(vector(layer.dtype, PIXELS), "vload4", 0, tirx.address_of(first))
            return [tirx.BufferStore(self.x, value.astype(vector(dtype, PIXELS)), [ramp(i64(0), PIXELS)])]
        found = []
        for number in range(PIXELS):
            pixel = self.first + number
            pixel = tirx.min(pixel, i64(length - 1)) if length < PIXELS else pixel
            at = pixel if layer.is_flat else self.row * window.stride_h * window.width + pixel * window.stride_w
            value = tirx.BufferLoad(self.data, [*self._zeros(), image + place + at]).astype(dtype)
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
            if length % PIXELS == 0:
                statement = self._store_one(total, row, output, i64(0))
                if plain_floats(statement):

                    def one(pixel: Any, row: int = row, output: Any = output) -> Any:
                        return self._store_one(total, row, output, pixel)

                    found.append(guarded(inside, loop(PIXELS, one, VECTORIZED)))
                    continue
            for pixel in range(PIXELS):
                exists = [self.first + pixel >= self.own] if length % PIXELS else []
                exists = [i64(pixel) < length] if length < PIXELS else exists
                found.append(guarded([*inside, *exists], self._store_one(total, row, output, i64(pixel))))
        return found

    def _store_one(self, total: RegisterTile, row: int, output: Any, pixel: Any) -> Any:
        layer, width = self.layer, self.layer.window.out_width
        place = self.first + pixel
        y, x = (tirx.floordiv(place, width), tirx.floormod(place, width)) if layer.is_flat else (self.row, place)
        value = tirx.BufferLoad(total.buffer, [i64(row * PIXELS) + pixel])
        return self.fused.store([self.image, output, y, x], value)
