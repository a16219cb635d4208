"""Brings a compressed weight from its format into the order of the cpu kernels, where they have a use for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tilewright.formats.base import Encoded
from tilewright.formats.codecs.f16 import F16
from tilewright.formats.codecs.f32 import F32
from tilewright.formats.codecs.integer import Integer
from tilewright.formats.layouts.block_sparse import BlockSparse
from tilewright.formats.layouts.dense import Dense
from tilewright.targets.packed_weights import CompressedWeight
from tilewright.targets.schedules.cpu_blocks import Blocks
from tilewright.targets.schedules.cpu_dot import Dot
from tilewright.targets.schedules.cpu_tile import Core

Array = npt.NDArray[Any]

_LEAST_LANES = 4  # narrower vectors gain nothing over a dense kernel
_MOST_DEPTH = (1 << 31) // (255 * 128)  # columns whose products surely fit into int32


@dataclass(frozen=True)
class KernelWeights:
    """A weight matrix in kernel order.

    Attributes:
        arrays: "index" uint16, "values" and "scales", as ``cpu_compressed.compressed`` takes them, where they are.
        factor: float32 [outputs] or scalar, what the kernel's result is yet to be multiplied with.
        sums: [outputs]: of the integers as the kernel multiplies them, int64; of the scaled ones, float32, for groups.
    """

    blocks: Blocks
    arrays: Mapping[str, Array]
    factor: Array
    sums: Array

    @property
    def symbol_bits(self) -> Mapping[str, int]:
        """Of each array, see PackedParameter. Fields of planes are symbols to the entropy coder where there is one."""
        found = {role: 8 * array.itemsize for role, array in self.arrays.items()}
        return {**found, "values": self.blocks.bits} if len(self.blocks.planes) == 1 else found


@dataclass(frozen=True)
class Payload:
    """What a layout kept of a matrix, decoded as far as kernels want it: ``values`` [rows, kept columns]."""

    values: Array
    index: Array | None
    scales: Array  # [rows or 1, groups]
    bits: int
    group: int  # columns


def payload_of(weight: CompressedWeight) -> Payload | None:
    """The integers or floats of a weight; None for formats that have no kernel."""
    form, arrays, shape = weight.format, weight.arrays, weight.unpack.payload
    index = None
    if isinstance(form.layout, BlockSparse):
        index = arrays["index"].reshape(form.layout.grid(weight.unpack.matrix)[0], -1)
    elif not isinstance(form.layout, Dense):
        return None
    codec = form.codec
    if isinstance(codec, F32 | F16):
        return Payload(arrays["values"].reshape(shape), index, np.ones((1, 1), np.float32), _float_bits(codec), 0)
    if not isinstance(codec, Integer) or codec.asymmetric:
        return None
    encoded = {**arrays, "scales": arrays["scales"].reshape(codec.scales_shape(shape))}
    values, scales = codec.integers(Encoded(encoded, shape))
    return Payload(values, index, scales, codec.bits, codec.group)


def _float_bits(codec: F32 | F16) -> int:
    return 16 if isinstance(codec, F16) else 32


def kernel_weights(
    weight: CompressedWeight, integer: bool, rows: int, core: Core, dot: Dot, taps: int = 1
) -> KernelWeights | str:
    """Packs a weight for a kernel.

    Args:
        integer: activations are bytes. The result says by ``blocks.word`` whether the kernel takes them.
        rows: that the kernel multiplies the weight with at a time.
        taps: of a convolution; no block may belong to two.

    Returns:
        What the kernel reads, or the reason why the dense kernel does better.
    """
    payload = payload_of(weight)
    if payload is None:
        return f"no kernel reads {weight.unpack.format} yet"
    outputs, depth = weight.unpack.matrix
    integer = integer and payload.bits <= 8 and depth <= _MOST_DEPTH
    if payload.index is None:
        return _dense(payload, outputs, depth, integer, rows, core, dot, taps)
    layout = weight.format.layout
    assert isinstance(layout, BlockSparse)
    if taps > 1 and depth // taps % layout.bw:
        return f"blocks of {layout.bw} columns do not divide {depth // taps} input channels"
    k, columns = payload.index.shape[1], layout.grid((outputs, depth))[1]
    for word in (4, 1) if integer else (1,):
        blocks = _blocks(payload, outputs, depth, layout.bh, layout.bw, k, True, word, core)
        if blocks is not None and _has_kernel(blocks, dot):
            break
    else:
        return f"blocks of {layout.bh}x{layout.bw} fill no vector"
    density = blocks.k / columns
    if density > _most_density(blocks, rows):
        return f"sparse slower at a density of {density:.0%}"
    return _packed(blocks, payload)


_BREAK_EVEN = 0.6  # of a float32 product of many rows: finding columns and loading activations anew costs the rest
_BREAK_EVEN_ONE_ROW = 0.85  # where weights come from memory: of a dense matrix there is no index to read


def _most_density(blocks: Blocks, rows: int) -> float:
    """Beyond this share of blocks the dense kernel, in float32, is predicted to be faster; measure it with
    benchmarks/slope.py.

    A vector that fills part of a register does part of the work. Dot products of bytes take four columns at once, which
    no density makes up for. One row reads all weights once, as few bytes as they have.
    """
    if blocks.word == 4:
        return 1.0
    filled = blocks.vector_lanes / blocks.lanes
    if rows == 1:
        return min(1.0, _BREAK_EVEN_ONE_ROW * filled * 32 / blocks.bits)
    return _BREAK_EVEN * filled


def _has_kernel(blocks: Blocks, dot: Dot) -> bool:
    lanes = blocks.vector_lanes
    return lanes >= _LEAST_LANES and (blocks.word == 1 or dot.takes(lanes))


def _blocks(
    payload: Payload, outputs: int, depth: int, bh: int, bw: int, k: int, sparse: bool, word: int, core: Core
) -> Blocks | None:
    if bw % word:
        return None
    group = -(-payload.group // bw)
    dtype = str(payload.scales.dtype) if group else ""
    blocks = Blocks(outputs, depth, bh, bw, k, sparse, payload.bits, word, core.lanes, group, dtype).padded()
    aligned = payload.group % bw == 0 and group % blocks.unit == 0
    return blocks if aligned else None


def _dense(
    payload: Payload, outputs: int, depth: int, integer: bool, rows: int, core: Core, dot: Dot, taps: int
) -> KernelWeights | str:
    word = 4 if integer and dot.takes(core.lanes) else 1
    if word == 1 and (rows > 4 or payload.bits == 32):
        return "computes in float32, where unpacked weights are as fast"
    vectors = _vectors(outputs, core.lanes, 4 if rows == 1 else 2)
    channels = depth // taps
    padded = -(-channels // word) * word
    split: Array = payload.values.reshape(outputs, taps, channels)
    values = np.pad(split, ((0, 0), (0, 0), (0, padded - channels))).reshape(outputs, -1)
    if payload.group and (padded != channels or (taps > 1 and channels % payload.group)):
        return "groups of columns do not fit the taps of the convolution"
    k = taps * padded // word
    blocks = _blocks(payload, outputs, taps * padded, vectors * core.lanes, word, k, False, word, core)
    if blocks is None:
        return f"groups of {payload.group} columns are no whole units of {payload.bits} bits"
    return _packed(blocks, Payload(values, None, payload.scales, payload.bits, payload.group))


def _vectors(outputs: int, lanes: int, most: int) -> int:
    """Vectors of outputs that a dense kernel sums side by side: as many as pad the outputs least, which costs time and
    bytes in the file."""
    return min(range(1, most + 1), key=lambda vectors: (-outputs % (vectors * lanes), -vectors))


def _packed(blocks: Blocks, payload: Payload) -> KernelWeights:
    arrays: dict[str, Array] = {"values": blocks.pack(payload.values)}
    if payload.index is not None:
        arrays["index"] = blocks.pack_index(payload.index).astype(np.uint16)
    scales = payload.scales.astype(np.float32)
    gain = np.float32(1 / blocks.gain)
    if blocks.group:
        arrays["scales"] = blocks.pack_scales(payload.scales)
        spread = np.repeat(scales, payload.group, axis=1)[:, : payload.values.shape[1]]
        sums = (payload.values * spread).sum(axis=1, dtype=np.float64) * blocks.gain
        return KernelWeights(blocks, arrays, np.asarray(gain), _outputs(sums, blocks).astype(np.float32))
    sums = payload.values.sum(axis=1, dtype=np.float64) * blocks.gain
    factor = _outputs(scales[:, 0], blocks) if scales.size > 1 else scales.reshape(())
    return KernelWeights(blocks, arrays, factor * gain, np.rint(_outputs(sums, blocks)).astype(np.int64))


def _outputs(values: Array, blocks: Blocks) -> Array:
    """One value an output, without the padding of the last block row."""
    return values[: blocks.outputs]
