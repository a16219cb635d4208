"""Convolutions by compressed weights: what a layer is, and what it computes, said as an expression.

1x1, and k x k where blocks of channels were dropped tap by tap. Images are padded already. Those of bytes come four
channels in a word, as signed bytes (gpu_dot.py): an image of a quarter of the channels, whose results are integers.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from tvm import te, tirx

from tilewright.targets.schedules.fused import mark
from tilewright.targets.schedules.gpu_common import GpuLimits
from tilewright.targets.schedules.gpu_decoder import FOUR, PackedOperands
from tilewright.targets.schedules.gpu_words import Words
from tilewright.targets.schedules.ir import i64, i64s
from tilewright.targets.schedules.window import Window

TEMPLATE = "gpu_compressed_conv"
PIXELS = 4  # of a work-item
_OTHERS = 12  # registers that counters and addresses take


@dataclass(frozen=True)
class Convolution:
    """One layer.

    Attributes:
        words: of the weights, with one lane.
        window: over an image of ``channels`` that is padded already, so itself without padding.
        dtype: of the image: float32, float16, or int32 for words of four channels, which divide ``channels`` then.
    """

    words: Words
    window: Window
    channels: int
    dtype: str = "float32"

    @property
    def integer(self) -> bool:
        """Whether integers are multiplied."""
        return self.dtype == "int32"

    @property
    def out_dtype(self) -> str:
        return "int32" if self.integer else "float32"

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Of the image."""
        return self.window.batch, self.channels // (FOUR if self.integer else 1), self.window.height, self.window.width

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
            return self._plane_of(channel)
        tap, channel = tirx.floordiv(column, self.channels), tirx.floormod(column, self.channels)
        i, j = tirx.floordiv(tap, w.kernel_width), tirx.floormod(tap, w.kernel_width)
        return self._plane_of(channel) + i * (w.dilation_h * w.width) + j * w.dilation_w

    def _plane_of(self, channel: Any) -> Any:
        return (tirx.floordiv(channel, FOUR) if self.integer else channel) * self.plane


def outputs_for(words: Words, integer: bool, limits: GpuLimits) -> int:
    """Outputs that a work-item has registers for, of those in ``words``.

    Bytes count one by one: drivers that do not have an instruction for dot products take all words apart.
    """
    decoding = 2 * bool(words.planes) + 2 * bool(words.table) + 2 * words.zeros + bool(words.group)
    each = PIXELS + words.words + (FOUR if integer else decoding)
    pixels = PIXELS * (FOUR if integer else 1)
    rows = words.rows
    while rows > 1 and rows * each + pixels > limits.registers - _OTHERS:
        rows //= 2
    return rows


def convolution(layer: Convolution) -> Any:
    """The PrimFunc (image NCHW, packed arrays as in gpu_decoder.py, output NCHW) of a layer."""
    w, window = layer.words, layer.window
    data = te.placeholder(i64s(*layer.shape), layer.dtype, "data")
    column = te.reduce_axis((i64(0), i64(w.columns)), "column")
    weights = PackedOperands(w)

    def element(n: Any, output: Any, y: Any, x: Any) -> Any:
        place = layer.offset(weights.place(output, column))
        channel, inside = tirx.floordiv(place, layer.plane), tirx.floormod(place, layer.plane)
        row, across = tirx.floordiv(inside, window.width), tirx.floormod(inside, window.width)
        value = data(n, channel, y * window.stride_h + row, x * window.stride_w + across)
        if layer.integer:
            left = (FOUR - 1 - tirx.floormod(column, FOUR)) * 8
            byte = (value << left.astype("int32")) >> tirx.const(24, "int32")
            return te.sum(weights.multiplied_byte(byte, output, column), axis=column)
        return te.sum(weights.multiplied(value.astype("float32"), output, column), axis=column)

    marks = mark(TEMPLATE, **asdict(layer))
    result = te.compute(i64s(*layer.out_shape), element, name="compressed_conv", attrs=marks)
    return te.create_prim_func([data, *weights.operands, result]).with_attr("op_pattern", 4)
