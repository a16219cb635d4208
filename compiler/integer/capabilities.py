"""What an accelerator of integer networks computes: which depths, operations and sizes."""

from __future__ import annotations

from dataclasses import dataclass

from tilewright.integer.network import Binary, Convolution, Lookup, Operation, Pooling, View


@dataclass(frozen=True)
class Capabilities:
    """The defaults are what any accelerator of 8-bit integers does.

    Attributes:
        depths: of activations, in bits, ascending.
        weight_depths: of weights, as signed integers, ascending.
        symmetric: those of the depths whose integers have a sign and no zero point.
        accumulator_bits: how wide sums are.
        deep_accumulator_bits: the same for sources of more than 8 bits; 0 where it makes no difference.
        reduced: whether the scales of such sources' sums have 16 bits and round once, as TFLite's do.
        mixed: operands and results of an operation may differ in depth and sign, and operands of a Binary broadcast.
        clamps: whether results of a Binary may be clamped.
        table_depth: the greatest depth of a Lookup's source.
        slope_bits: of the differences between neighbours in an interpolated table.
        fused_tables: whether a function between a convolution and its quantizer becomes a Lookup of deeper integers.
        operations: which.
        doubling: whether resizing is by equal powers of two.
        kernel, stride, dilation: the greatest, in elements.
    """

    depths: tuple[int, ...] = (8,)
    weight_depths: tuple[int, ...] = (8, 9)
    symmetric: tuple[int, ...] = ()
    accumulator_bits: int = 32
    deep_accumulator_bits: int = 0
    reduced: bool = False
    mixed: bool = False
    clamps: bool = False
    table_depth: int = 8
    slope_bits: int = 17
    fused_tables: bool = False
    operations: tuple[type[Operation], ...] = (Convolution, Pooling, Binary, Lookup, View)
    doubling: bool = False
    kernel: int = 64
    stride: int = 3
    dilation: int = 2

    def sum_bits(self, depth: int) -> int:
        """How wide sums are of sources of a depth."""
        return (self.deep_accumulator_bits if depth > 8 else 0) or self.accumulator_bits

    def depth(self, bits: int) -> int | None:
        """The least depth of activations that holds so many bits."""
        return next((depth for depth in self.depths if depth >= bits), None)
