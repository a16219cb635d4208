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
        accumulator_bits: how wide sums are.
        mixed: operands and results of an operation may differ in depth and sign, and operands of a Binary broadcast.
        table_depth: the greatest depth of a Lookup's source.
        fused_tables: whether a function between a convolution and its quantizer becomes a Lookup of deeper integers.
        operations: which.
        kernel, stride, dilation: the greatest, in elements.
    """

    depths: tuple[int, ...] = (8,)
    weight_depths: tuple[int, ...] = (8, 9)
    accumulator_bits: int = 32
    mixed: bool = False
    table_depth: int = 8
    fused_tables: bool = False
    operations: tuple[type[Operation], ...] = (Convolution, Pooling, Binary, Lookup, View)
    kernel: int = 64
    stride: int = 3
    dilation: int = 2

    def depth(self, bits: int) -> int | None:
        """The least depth of activations that holds so many bits."""
        return next((depth for depth in self.depths if depth >= bits), None)
