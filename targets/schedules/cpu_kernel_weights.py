"""Brings a compressed weight from its format into the order of the cpu kernels, where they have a use for it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tilewright.formats.layouts.block_sparse import BlockSparse
from tilewright.targets.base import Device
from tilewright.targets.packed_weights import CompressedWeight
from tilewright.targets.schedules.cpu_blocks import Blocks
from tilewright.targets.schedules.cpu_dot import Dot
from tilewright.targets.schedules.cpu_lookup import Lookup
from tilewright.targets.schedules.cpu_payload import Payload, payloads_of
from tilewright.targets.schedules.cpu_tile import Core

Array = npt.NDArray[Any]

_LEAST_LANES = 4  # narrower vectors gain nothing over a dense kernel
_FEW_ROWS = 4  # of float activations, to which a dense kernel's weights come from memory
_MOST_DEPTH = (1 << 31) // (255 * 255)  # columns whose products surely fit into int32


@dataclass(frozen=True)
class KernelWeights:
    """A weight matrix, or some rows of it, in kernel order.

    Attributes:
        arrays: as ``cpu_compressed.compressed`` takes them, by its roles; without "values" where these are decoded when
            the model is loaded.
        factor: float32 [outputs] or scalar, what the kernel's result is yet to be multiplied with.
        sums: [outputs]: of the integers as the kernel multiplies them, int64; of the scaled ones, float32, for groups.
        outputs: the rows that these are.
    """

    blocks: Blocks
    arrays: Mapping[str, Array]
    factor: Array
    sums: Array
    outputs: Array

    @property
    def symbol_bits(self) -> Mapping[str, int]:
        """Of each array, see PackedParameter. Fields of planes are symbols to the entropy coder where there is one."""
        found = {role: 8 * array.itemsize for role, array in self.arrays.items()} | {"places": 4}
        return {**found, "values": self.blocks.bits} if len(self.blocks.planes) == 1 else found


def kernel_weights(
    weight: CompressedWeight,
    integer: bool,
    rows: int,
    device: Device,
    taps: int = 1,
    unpacked_bytes: int = 0,
    speedup: float = 1.0,
) -> tuple[KernelWeights, ...] | str:
    """Packs a weight for kernels: one, or one for each bit depth. Rows that belong to none are zero.

    Args:
        integer: activations are bytes. The result says by ``blocks.word`` whether a kernel takes them.
        rows: that the kernel multiplies the weight with at a time.
        taps: of a convolution; no block may belong to two.
        unpacked_bytes: what compressed weights of the network would take in float32; by default what this one would.
        speedup: of the dense kernel over one that does all multiplications (cpu_winograd.py).

    Returns:
        What the kernels read, or the reason why the dense kernel does better.
    """
    payloads = payloads_of(weight, Core.of(device).lanes)
    if isinstance(payloads, str):
        return payloads
    if not payloads:
        return "all of its rows are zero"
    depth = weight.unpack.matrix[1]
    layout, found = weight.format.layout, []
    unpacked_bytes = unpacked_bytes or 4 * math.prod(weight.unpack.matrix)
    for payload in payloads:
        as_bytes = integer and payload.is_integer and depth <= _MOST_DEPTH
        wants = _Wants(as_bytes, rows, taps, device, unpacked_bytes, speedup)
        if isinstance(layout, BlockSparse):
            made = wants.sparse(payload, depth, layout)
        else:
            made = wants.dense(payload, depth, len(payloads) == 1)
        if isinstance(made, str):
            return made
        found.append(made)
    return tuple(found)


_BREAK_EVEN = 0.6  # of a float32 product of many rows: finding columns and loading activations anew costs the rest
BREAK_EVEN_ONE_ROW = 0.85  # of reading unpacked weights: what decoding may take
_BREAK_EVEN_SPARSE_ROW = 0.7  # of a float32 product of one row, whose weights have no index and come as several streams
_PLANE = 2  # instructions that decode a register of one bit plane
_TOGETHER = 8  # rows that surely share decoded weights


@dataclass(frozen=True)
class _Wants:
    """What a kernel is for; see ``kernel_weights``."""

    integer: bool
    rows: int
    taps: int
    device: Device
    unpacked_bytes: int
    speedup: float

    @property
    def core(self) -> Core:
        return Core.of(self.device)

    @property
    def dot(self) -> Dot:
        return Dot.of(self.device)

    def sparse(self, payload: Payload, depth: int, layout: BlockSparse) -> KernelWeights | str:
        assert payload.index is not None
        if self.taps > 1 and depth // self.taps % layout.bw:
            return f"blocks of {layout.bw} columns do not divide {depth // self.taps} input channels"
        for word in (4, 1) if self.integer else (1,):
            blocks = self._blocks(payload, depth, layout.bh, layout.bw, payload.index.shape[1], word)
            if blocks is not None and self._has_kernel(blocks):
                break
        else:
            return f"blocks of {layout.bh}x{layout.bw} fill no vector"
        density = blocks.k / layout.grid((1, depth))[1]
        if density > self._most_density(blocks):
            return f"sparse slower at a density of {density:.0%}"
        return _packed(blocks, payload)

    def dense(self, payload: Payload, depth: int, alone: bool) -> KernelWeights | str:
        word = 4 if self.integer and self.dot.takes(self.core.lanes) else 1
        fours, outputs, channels = payload.places is not None, len(payload.outputs), depth // self.taps
        if word == 1 and (self.rows > _FEW_ROWS or (payload.bits == 32 and alone and not fours)):
            return "computes in float32, where unpacked weights are as fast"
        bw = 4 if fours else word
        padded = -(-channels // bw) * bw
        if padded != channels and self.taps > 1 and (payload.group or fours):
            what = f"groups of {payload.group}" if payload.group else "fours of"
            return f"{what} columns do not fit the taps of the convolution, {channels} each"
        if padded != channels and not fours:
            payload = _widened(payload, self.taps, padded)
        vectors = _vectors(outputs, self.core.lanes, 4 if self.rows == 1 else 2)
        blocks = self._blocks(
            payload, self.taps * padded, vectors * self.core.lanes, bw, self.taps * padded // bw, word
        )
        if blocks is None:
            return f"groups of {payload.group} columns are no whole units of {payload.bits} bits"
        if payload.centroids is not None and self._looking(blocks) > BREAK_EVEN_ONE_ROW * self._reading:
            return f"looking up one of {len(payload.centroids)} centroids costs more than reading an unpacked weight"
        return _packed(blocks, payload)

    def _blocks(self, payload: Payload, depth: int, bh: int, bw: int, k: int, word: int) -> Blocks | None:
        if bw % word:
            return None
        kept = 0 if payload.places is None else 2
        group, rest = divmod(payload.group, kept or bw)
        blocks = Blocks(
            outputs=len(payload.outputs),
            depth=depth,
            bh=bh,
            bw=bw,
            k=k,
            sparse=payload.index is not None,
            bits=payload.bits,
            word=word,
            lanes=self.core.lanes,
            group=group,
            scale_dtype=str(payload.scales.dtype) if group else "",
            asymmetric=payload.zeros is not None,
            centroids=0 if payload.centroids is None else len(payload.centroids),
            kept=kept,
        )
        if payload.centroids is not None:
            blocks = replace(blocks, centroids=self._lookup(blocks).size)
        return None if rest or group % blocks.unit else blocks

    def _lookup(self, blocks: Blocks) -> Lookup:
        return Lookup.of(self.device, blocks.vector_lanes, blocks.centroids)

    def _looking(self, blocks: Blocks) -> float:
        """Instructions that make a whole register of centroids of their numbers; 0 for other weights."""
        if not blocks.centroids:
            return 0.0
        return (self._lookup(blocks).cost + _PLANE * len(blocks.planes)) * blocks.lanes / blocks.vector_lanes

    @property
    def _reading(self) -> float:
        """What reading a register of unpacked weights costs one row, in instructions."""
        return self.core.reading(self.unpacked_bytes)

    def _has_kernel(self, blocks: Blocks) -> bool:
        lanes = blocks.vector_lanes
        return lanes >= _LEAST_LANES and (blocks.word == 1 or self.dot.takes(lanes))

    def _most_density(self, blocks: Blocks) -> float:
        """Beyond this share of blocks the dense kernel, in float32, is predicted to be faster; measure it with
        benchmarks/slope.py.

        A vector that fills part of a register does part of the work. Dot products of bytes take four columns at once,
        which no density makes up for. One row reads all weights once, as few bytes as they have, and decodes them as
        they come; several rows share what was decoded.
        """
        if blocks.word == 4:
            return 1.0
        filled = blocks.vector_lanes / blocks.lanes
        looking = self._looking(blocks)
        if self.rows == 1:
            saved = min(32 / blocks.bits, self._reading / looking) if looking else 32 / blocks.bits
            return min(1.0, _BREAK_EVEN_SPARSE_ROW * filled * saved)
        together = min(self.rows, _TOGETHER)
        return _BREAK_EVEN / self.speedup * filled * together / (together + looking / 2)


def _vectors(outputs: int, lanes: int, most: int) -> int:
    """Vectors of outputs that a dense kernel sums side by side: as many as pad the outputs least, which costs time and
    bytes in the file."""
    return min(range(1, most + 1), key=lambda vectors: (-outputs % (vectors * lanes), -vectors))


def _widened(payload: Payload, taps: int, padded: int) -> Payload:
    """With columns of zeros after the channels of each tap."""
    split: Array = payload.values.reshape(len(payload.values), taps, -1)
    channels = split.shape[2]
    values = np.zeros((len(split), taps, padded), split.dtype)
    if payload.zeros is not None:
        values[:] = payload.zeros[:, -1:, None]
    values[:, :, :channels] = split
    return replace(payload, values=values.reshape(len(split), -1))


def _packed(blocks: Blocks, payload: Payload) -> KernelWeights:
    arrays: dict[str, Array] = {} if payload.at_load else {"values": blocks.pack(payload.values)}
    if payload.index is not None:
        arrays["index"] = payload.index.astype(np.uint16)
    if payload.places is not None:
        arrays["places"] = blocks.pack_places(payload.places)
    if payload.centroids is not None:
        arrays["centroids"] = np.pad(payload.centroids, (0, blocks.centroids - len(payload.centroids)))
    if payload.zeros is not None:
        zeros = np.broadcast_to(payload.zeros, (len(payload.values), payload.zeros.shape[1]))
        arrays["zeros"] = blocks.pack_scales(zeros * blocks.gain, "int8")
    scales = payload.scales.astype(np.float32)
    gain = np.float32(1 / blocks.gain)
    outputs = payload.outputs
    if blocks.group:
        arrays["scales"] = blocks.pack_scales(payload.scales)
        sums = (payload.integers * payload.spread(scales)).sum(axis=1, dtype=np.float64) * blocks.gain
        return KernelWeights(blocks, arrays, np.asarray(gain), sums[: len(outputs)].astype(np.float32), outputs)
    sums = payload.integers.sum(axis=1, dtype=np.float64)[: len(outputs)] * blocks.gain
    factor = scales[: len(outputs), 0] if scales.size > 1 else scales.reshape(())
    return KernelWeights(blocks, arrays, factor * gain, np.rint(sums).astype(np.int64), outputs)
