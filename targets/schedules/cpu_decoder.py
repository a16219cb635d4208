"""Packed arrays of a weight as operands of a kernel, and the vectors of weights that it makes of them.

What codecs and layouts add to plain integers and floats is here: zero points, centroids, and two weights of four.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from tvm import te, tirx

from tilewright.targets.base import Device
from tilewright.targets.schedules.cpu_blocks import Blocks
from tilewright.targets.schedules.cpu_dot import splat, stretch
from tilewright.targets.schedules.cpu_lookup import Lookup, can_permute, permuted
from tilewright.targets.schedules.cpu_spatial import fetch_ahead
from tilewright.targets.schedules.cpu_tile import Core
from tilewright.targets.schedules.ir import Statements, i64, i64s, ramp, vector_type

ROLES = ("index", "places", "centroids", "values", "zeros", "scales")  # in the order of a kernel's parameters


class PackedOperands:
    """The packed arrays as placeholders, and what one weight is, in the order that ``PackedBuffers`` relies on."""

    def __init__(self, blocks: Blocks) -> None:
        b = self.blocks = blocks
        self.index = te.placeholder(i64s(b.block_rows, b.k), "uint16", "index") if b.sparse else None
        self.places = te.placeholder(i64s(*b.places_shape), "uint8", "places") if b.kept else None
        self.centroids = te.placeholder(i64s(b.centroids), "float32", "centroids") if b.centroids else None
        self.values = te.placeholder(i64s(*b.values_shape), b.values_dtype, "values")
        self.zeros = te.placeholder(i64s(*b.scales_shape), "int8", "zeros") if b.asymmetric else None
        self.scales = te.placeholder(i64s(*b.scales_shape), b.scale_dtype, "scales") if b.group else None

    def of(self, *roles: str) -> list[Any]:
        """Those of the roles that there are."""
        return [array for role in roles if (array := getattr(self, role)) is not None]

    def weight(self, block_row: Any, block: Any, inside: Any, column: Any) -> Any:
        """A weight of a block, without its group's scale: int32 or float32."""
        b = self.blocks
        if self.places is None:
            weight = self._stored(block_row, block, inside, column)
        else:
            pair, half = tirx.floordiv(block, 2), tirx.floormod(block, 2).astype("uint8")
            code = (self.places[block_row, pair, inside] >> (half * 4)).astype("int32")
            parts, zero = [], tirx.const(0, "float32" if b.centroids or not b.planes else "int32")
            for place, shift in ((0, 0), (1, 2)):
                here = tirx.EQ((code >> shift) & 3, column.astype("int32"))
                stored = self._stored(block_row, block, inside, i64(place))
                parts.append(tirx.if_then_else(here, stored, zero))
            weight = parts[0] + parts[1]
        if self.zeros is None:
            return weight
        group = tirx.floordiv(block, b.group) if b.group else i64(0)
        return weight - self.zeros[block_row, group, inside].astype("int32")

    def _stored(self, block_row: Any, block: Any, inside: Any, column: Any) -> Any:
        b = self.blocks
        value = b.decode_one(lambda *i: self.values(*i), block_row, block, b.position(inside, column))
        return value if self.centroids is None else self.centroids[value]


@dataclass(frozen=True)
class PackedBuffers:
    """The same arrays as buffers of a fused function."""

    index: Any
    places: Any
    centroids: Any
    values: Any
    zeros: Any
    scales: Any

    @classmethod
    def take(cls, blocks: Blocks, left: list[Any]) -> PackedBuffers:
        """Takes them off the front of the operands that an expression reads, in that order."""
        b = blocks
        has = (b.sparse, b.kept, b.centroids, True, b.asymmetric, b.group)
        return cls(*(left.pop(0) if present else None for present in has))


class Decoder:
    """Vectors of weights of one block row, with statements to be executed before."""

    def __init__(self, blocks: Blocks, buffers: PackedBuffers, device: Device, block_row: Any) -> None:
        self.blocks, self.buffers, self.block_row = blocks, buffers, block_row
        self.lanes = blocks.vector_lanes
        self.lookup = Lookup.of(device, self.lanes, blocks.centroids) if blocks.centroids else None
        self.permutes = can_permute(device, self.lanes)
        nbytes = math.prod(blocks.values_shape) * np.dtype(blocks.values_dtype).itemsize
        self.streamed = not blocks.sparse and nbytes > Core.of(device).l2_bytes
        self._registers: list[Any] = []
        self._zeros: list[Any] = []

    def open(self) -> list[Any]:
        """Statements at the start of a tile."""
        if self.lookup is None:
            return []
        self._registers, statements = self.lookup.open(self.buffers.centroids)
        return statements

    def open_group(self, group: Any) -> list[Any]:
        """Statements at the start of a group, or of a tile where there is none: zero points, for float activations."""
        b, statements = self.blocks, Statements()
        if b.asymmetric and b.word == 1:
            self._zeros = [statements.bind("zero", self.zero(group, vector)) for vector in range(b.vectors)]
        return statements.made

    def zero(self, group: Any, vector: int) -> Any:
        """The zero points of a vector's outputs, int32 of ``vector_lanes``."""
        return self._of_outputs(self.buffers.zeros, group, vector, "int32")

    def scale(self, group: Any, vector: int) -> Any:
        """The scales of a vector's outputs, float32 of ``vector_lanes``."""
        return self._of_outputs(self.buffers.scales, group, vector, "float32")

    def _of_outputs(self, buffer: Any, group: Any, vector: int, dtype: str) -> Any:
        b = self.blocks
        loaded = tirx.BufferLoad(buffer, [self.block_row, group, ramp(i64(vector * b.height), b.height)])
        return stretch(loaded.astype(vector_type(dtype, b.height)), b.height, b.width)

    def step(self, unit: Any, inside: int, step: int) -> tuple[list[Any], list[Any], list[Any]]:
        """The vectors of a step of block ``inside`` of a unit.

        Returns:
            Weights, int8 of words or float32; where two of four columns are stored and activations are floats, which of
            the block's columns they belong to, int32; and statements.
        """
        b, statements = self.blocks, Statements()
        if self.streamed and inside == step == 0:
            statements.made += self._ahead(unit)
        weights, places = [], []
        for vector in range(b.vectors):
            value = b.decode(self.buffers.values, self.block_row, unit, inside, step, vector)
            code = self._code(statements, unit, inside, vector) if b.kept else None
            if b.word == 4:
                weights.append(statements.bind("w", value if code is None else self._expanded(statements, value, code)))
                continue
            if code is not None:
                places.append(statements.bind("place", (code >> self._ints(2 * step)) & self._ints(3)))
            weights.append(self._float(statements, value, vector))
        return weights, places, statements.made

    def _ahead(self, unit: Any) -> list[Any]:
        """Statements that prefetch what is a page beyond a unit."""
        b, values = self.blocks, self.buffers.values
        firsts = [[self.block_row, unit + stream * b.units, i64(0)] for stream in range(b.streams)]
        return [fetch for first in firsts for fetch in fetch_ahead(values, first, b.values_shape[2])]

    def _float(self, statements: Statements, value: Any, vector: int) -> Any:
        b = self.blocks
        if b.planes:
            value = value.astype(vector_type("int32", self.lanes))
            if self.lookup is not None:
                numbers = statements.bind("number", value)
                value = self.lookup.entry(self.buffers.centroids, self._registers, numbers)
            else:
                value = value - self._zeros[vector] if b.asymmetric else value
                value = value.astype(vector_type("float32", self.lanes))
        return statements.bind("w", value)

    def _ints(self, value: int) -> Any:
        return splat("int32", value, self.lanes)

    def _code(self, statements: Statements, unit: Any, inside: int, vector: int) -> Any:
        """Which two of four columns are stored, in the low bits of int32."""
        b = self.blocks
        at = [self.block_row, unit * (b.unit // 2) + inside // 2, ramp(i64(vector * b.height), b.height)]
        code = tirx.BufferLoad(self.buffers.places, at).astype(vector_type("int32", b.height))
        return statements.bind("code", code >> self._ints(4) if inside % 2 else code)

    def _expanded(self, statements: Statements, pairs: Any, code: Any) -> Any:
        """Words of four bytes of which two are stored, int8."""
        pair = statements.bind("pair", tirx.reinterpret(f"uint16x{self.lanes}", pairs).astype(f"int32x{self.lanes}"))
        low = (pair & self._ints(255)) << ((code & self._ints(3)) << self._ints(3))
        high = (pair >> self._ints(8)) << ((code & self._ints(12)) << self._ints(1))
        return tirx.reinterpret(f"int8x{4 * self.lanes}", low | high)

    def chosen(self, activations: Any, places: Any) -> Any:
        """Of four activations, over and over in a vector, the one that each lane's weight meets."""
        if self.permutes:
            return permuted(activations, places, self.lanes)
        one: list[Any] = [tirx.Shuffle([activations], [column] * self.lanes) for column in range(4)]
        odd = tirx.NE(places & self._ints(1), self._ints(0))
        pairs = [tirx.Select(odd, one[1], one[0]), tirx.Select(odd, one[3], one[2])]
        return tirx.Select(tirx.NE(places & self._ints(2), self._ints(0)), pairs[1], pairs[0])
