"""Brings a compressed weight from its format into the order of the GPU kernels, where they have a use for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from tilewright.formats.base import Encoded
from tilewright.formats.bits import unpack_bits
from tilewright.formats.codecs.astc import Astc
from tilewright.formats.codecs.codebook import Codebook
from tilewright.formats.codecs.f16 import F16
from tilewright.formats.codecs.f32 import F32
from tilewright.formats.codecs.integer import Integer
from tilewright.formats.layouts.block_sparse import BlockSparse
from tilewright.formats.layouts.dense import Dense
from tilewright.targets.packed_weights import ANY_MODE, CompressedWeight
from tilewright.targets.schedules.gpu_common import GpuLimits
from tilewright.targets.schedules.gpu_pairs import normalised
from tilewright.targets.schedules.gpu_words import STEP, Words, chunk_of

Array = npt.NDArray[Any]

_PADDING = 1.05  # what padding may cost
KEPT_ASTC = "kernels decode ASTC for few rows, of blocks that have a weight for every texel"
KEPT_DENSE = "computes in float32, where unpacked weights are as fast"
# Operations that a kernel is predicted to take, see ``slower``.
_DECODE = 3  # an integer, or four bytes
_PLAIN = 2  # a product of bytes without an instruction for it
_INDEX = 4  # a block's place
_NEAR, _FAR = 1, 8  # a word from the cache, and from memory
_FEW_ROWS = 64
_MOST_COLUMNS = (1 << 16) - 1  # of bytes: the sums of so many products, and their correction, are exact in int32


@dataclass(frozen=True)
class KernelWeights:
    """A weight matrix in kernel order.

    Attributes:
        arrays: by role, what the kernel reads: "values", and where they are "index", "scales", "zero_points" and
            "codebook". Without "values" where these are floats that are decoded when the model is loaded.
        symbol_bits: of each array, see PackedParameter.
        factor: float32 [outputs] or scalar, what the kernel's result is yet to be multiplied with.
        sums: [outputs], of the weights but for ``factor``, int32, or float32 where groups have scales: what results of
            bytes are corrected by for their zero point. None for weights that do not multiply bytes.
    """

    words: Words
    arrays: Mapping[str, Array]
    symbol_bits: Mapping[str, int]
    factor: Array
    sums: Array | None = None


@dataclass(frozen=True)
class Payload:
    """What a layout kept of a matrix, and how its symbols become weights.

    Attributes:
        values: integers or floats [rows, kept columns].
        index: [block rows, blocks] or None.
        bits: of a value.
        scales: float [rows or 1, groups].
        group: columns of one.
        zeros: zero points [rows or 1, groups], or None; then ``values`` are unsigned.
        table: centroids that ``values`` are numbers of, float32, or None.
        blank: the value that decodes to zero, broadcastable to [rows, 1].
        at_load: ``values`` are decoded when the model is loaded; here zeros stand for them.
    """

    values: Array
    index: Array | None
    bits: int
    scales: Array = field(default_factory=lambda: np.ones((1, 1), np.float32))
    group: int = 0
    zeros: Array | None = None
    table: Array | None = None
    blank: Array = field(default_factory=lambda: np.zeros((1, 1), np.int16))
    at_load: bool = False


def payload_of(weight: CompressedWeight) -> Payload | str:
    """The symbols of a weight; the reason for formats that have no kernel."""
    form, arrays, shape = weight.format, weight.arrays, weight.unpack.payload
    index = None
    if isinstance(form.layout, BlockSparse):
        index = arrays["index"].reshape(form.layout.grid(weight.unpack.matrix)[0], -1)
    elif not isinstance(form.layout, Dense):
        return f"no kernel reads {form.layout.spec} yet"
    codec = form.codec
    if isinstance(codec, F32 | F16):
        return Payload(arrays["values"].reshape(shape), index, 16 if isinstance(codec, F16) else 32)
    if isinstance(codec, Astc) and index is not None:
        return Payload(np.zeros(shape, np.float32), index, 32, at_load=True)
    if isinstance(codec, Astc):
        return ANY_MODE if codec.scheme is None else KEPT_ASTC
    if isinstance(codec, Codebook):
        return _clustered(codec, arrays, shape, index)
    if not isinstance(codec, Integer):
        return f"no kernel reads {codec.spec} yet"
    scales = arrays["scales"].reshape(codec.scales_shape(shape))
    if not codec.asymmetric:
        values: Array = codec.integers(Encoded({**arrays, "scales": scales}, shape))[0]
        return Payload(values, index, codec.bits, scales.reshape(len(scales), -1), codec.group)
    values = unpack_bits(arrays["values"], codec.bits, shape[0] * shape[1]).reshape(shape)
    zeros = unpack_bits(arrays["zero_points"], codec.bits, scales.size).reshape(len(scales), -1)
    scales = scales.reshape(len(scales), -1)
    return Payload(values, index, codec.bits, scales, codec.group, zeros, blank=zeros[:, -1:])


def _clustered(codec: Codebook, arrays: Mapping[str, Array], shape: tuple[int, int], index: Array | None) -> Payload:
    values = unpack_bits(arrays["values"], codec.bits, shape[0] * shape[1]).reshape(shape)
    table = arrays["codebook"].astype(np.float32).ravel()
    zero = np.flatnonzero(table == 0)
    bits = codec.bits
    if not zero.size:  # padding wants a zero
        bits = len(table).bit_length()
        zero, table = np.array([len(table)]), np.append(table, np.float32(0))
    scales = arrays["scales"].reshape(-1, 1) if codec.scaled else np.ones((1, 1), np.float32)
    return Payload(values, index, bits, scales, table=table, blank=zero[:1].reshape(1, 1))


def kernel_weights(
    weight: CompressedWeight, lanes: int, taps: int = 1, most: int = 4, pairs: bool = False
) -> KernelWeights | str:
    """Packs a weight for a kernel.

    Args:
        lanes: work-items side by side that share a tile of the weight, at most.
        taps: of a convolution; no block may belong to two.
        most: outputs of a work-item, at most.
        pairs: of ``Words``.

    Returns:
        What the kernel reads, or the reason why there is no kernel.
    """
    payload = payload_of(weight)
    if isinstance(payload, str):
        return payload
    if payload.bits > 8 and payload.table is not None:
        return f"a codebook of {len(payload.table) - 1} centroids none of which is zero"
    outputs = weight.unpack.matrix[0]
    layout = weight.format.layout
    sparse = isinstance(layout, BlockSparse)
    bh, bw = (layout.bh, layout.bw) if isinstance(layout, BlockSparse) else (0, 0)
    channels = weight.unpack.matrix[1] // taps
    if taps > 1 and (not sparse or channels % bw):
        return "a convolution of several taps, whose blocks do not divide the channels" if sparse else KEPT_DENSE
    chunk = chunk_of(payload.bits)
    if payload.group % chunk:
        return f"groups of {payload.group} columns are no whole words of {payload.bits} bits"
    rows = min(most, bh if sparse else 1 << (outputs.bit_length() - 1))
    words = Words(
        outputs=outputs,
        columns=padded(payload.values.shape[1], payload.bits, bw),
        bits=payload.bits,
        unsigned=payload.zeros is not None or payload.table is not None,
        rows=rows,
        lanes=min(lanes, -(-outputs // rows)),
        bh=bh,
        bw=bw,
        group=payload.group,
        scale_dtype=str(payload.scales.dtype) if payload.group else "",
        zeros=payload.zeros is not None,
        table=0 if payload.table is None else len(payload.table),
        pairs=pairs,
    )
    return _packed(words, payload)


def padded(columns: int, bits: int, bw: int = 1) -> int:
    """Columns as whole chunks and blocks; as whole steps of a kernel's loop where that costs little."""
    chunk = chunk_of(bits)
    unit = max(chunk, bw)
    least = -(-columns // unit) * unit
    step = max(unit, min(4 * chunk, STEP))
    most = -(-columns // step) * step
    return most if most <= least * _PADDING else least


def float_weights(matrix: Array, lanes: int, most: int = 4, pairs: bool = False) -> KernelWeights:
    """Packs a matrix [outputs, depth] of float32 or float16 that nobody compressed; see ``kernel_weights``."""
    outputs, depth = matrix.shape
    rows = min(most, 1 << (outputs.bit_length() - 1))
    bits = 8 * matrix.itemsize
    return _packed(
        Words(
            outputs,
            padded(depth, bits),
            bits,
            False,
            rows,
            min(lanes, -(-outputs // rows)),
            pairs=pairs,
        ),
        Payload(matrix, None, bits),
    )


def _packed(words: Words, payload: Payload) -> KernelWeights:
    values, blank, factor = payload.values, payload.blank, np.ones((), np.float32)
    if words.pairs and not words.planes:
        values, power = normalised(values)
        factor = np.array(power, np.float32)
    missing = words.columns - values.shape[1]
    if missing:
        filled = np.broadcast_to(blank, (values.shape[0], missing)).astype(values.dtype)
        values = np.concatenate([values, filled], axis=1)
    arrays: dict[str, Array] = {} if payload.at_load else {"values": words.pack(values)}
    # Fields of a word are symbols to the entropy coder where they all have one width.
    symbols = {"values": words.planes[0] if len(words.planes) == 1 else words.bits if words.bits > 8 else 8}
    if payload.index is not None:
        arrays["index"], symbols["index"] = words.pack_index(payload.index), 16
    if words.group:
        arrays["scales"] = words.pack_scales(payload.scales, str(payload.scales.dtype))
        symbols["scales"] = 8 * payload.scales.itemsize
    if payload.zeros is not None:
        arrays["zero_points"], symbols["zero_points"] = words.pack_scales(payload.zeros, "uint8"), 8
    if payload.table is not None:
        arrays["codebook"], symbols["codebook"] = payload.table, 32
    if words.planes and not words.group:
        scales = payload.scales.astype(np.float32)[:, 0]
        factor = scales[: words.outputs] if scales.size > 1 else scales.reshape(())
    return KernelWeights(words, arrays, symbols, factor, _sums(words, payload))


def _sums(words: Words, payload: Payload) -> Array | None:
    if not words.planes or words.unsigned or words.columns > _MOST_COLUMNS:
        return None
    if not words.group:
        return np.asarray(payload.values[: words.outputs].sum(axis=1, dtype=np.int32))
    starts = np.arange(0, payload.values.shape[1], words.group)
    parts = np.add.reduceat(payload.values[: words.outputs], starts, axis=1, dtype=np.int32)
    scales = payload.scales[: words.outputs, : len(starts)].astype(np.float64)
    return np.asarray((parts * scales).sum(axis=1), np.float32)


def multiplies_bytes(packed: KernelWeights, rows: int, limits: GpuLimits) -> bool:
    """Whether so many rows of bytes are predicted to be faster as they are than as the floats they stand for."""
    return packed.sums is not None and _work(rows, limits) < _work(rows)


def _work(rows: int, limits: GpuLimits | None = None) -> float:
    """Operations to decode an integer and multiply it with up to four rows: of floats, or of bytes by ``limits``."""
    together = min(rows, 4)
    if limits is None:
        return _DECODE + together
    return _DECODE / 4 + together * (1 / 4 if limits.dot_product else _PLAIN)


def slower(words: Words, depth: int, rows: int, integer: GpuLimits | None = None) -> str:
    """Why a dense kernel is predicted to be faster for so many rows of activations, or pixels; "" where it is not.

    Counts operations for a weight and up to four rows: multiplications, decoding, and loads, which weigh more where
    few rows leave the memory no time.

    Args:
        integer: given where bytes are multiplied.
    """
    together = min(rows, 4)
    load = _FAR if rows <= _FEW_ROWS else _NEAR
    work = _work(rows, integer) + words.zeros if words.planes else together
    blocks = _INDEX / (words.bw * words.rows) if words.bw else 0
    density = words.columns / depth
    ours = density * (work + load * words.bits / 32 + blocks)
    if ours <= together + load:
        return ""
    if not words.bw:
        return KEPT_DENSE
    return f"sparse slower at a density of {density:.0%}" + (" with what pads it to whole words" if density > 1 else "")
