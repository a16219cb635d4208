"""Layers with weights in kernel order: drawn at random, run by the template alone, computed by NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from tvm import relax

from tilewright.artifact import Artifact
from tilewright.lower import pipeline
from tilewright.lower.tvm_setup import fast_tvmscript
from tilewright.runtime import Session
from tilewright.targets import resolve
from tilewright.targets.schedules.cpu_blocks import Blocks
from tilewright.targets.schedules.cpu_compressed import Compressed, compressed, offsets
from tilewright.targets.schedules.cpu_lookup import Lookup
from tilewright.targets.schedules.window import Window

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Case:
    """A layer, its weights and activations.

    Attributes:
        payload: what is stored, [outputs, stored columns]: integers, floats or numbers of centroids.
        index: [block rows, k], None for dense weights.
        scales: [outputs, groups], None where there are none.
        x: of ``layer.shape``.
        zeros: zero points [outputs, groups], None where there are none.
        centroids: float32, None where there are none.
        places: which two of every four columns are stored, 4-bit codes [outputs, fours], None where all are.
    """

    layer: Compressed
    payload: Array
    index: Array | None
    scales: Array | None
    x: Array
    zeros: Array | None = None
    centroids: Array | None = None
    places: Array | None = None

    @property
    def arrays(self) -> list[Array]:
        """The operands of the kernel after the activations."""
        b = self.layer.blocks
        arrays = [] if self.layer.window is None else [np.array(offsets(self.layer), np.int32)]
        if self.index is not None:
            arrays.append(self.index.astype(np.uint16))
        if self.places is not None:
            arrays.append(b.pack_places(self.places))
        if self.centroids is not None:
            arrays.append(np.pad(self.centroids, (0, b.centroids - len(self.centroids))))
        arrays.append(b.pack(self.payload))
        if self.zeros is not None:
            arrays.append(b.pack_scales(self.zeros * b.gain, "int8"))
        return arrays if self.scales is None else [*arrays, b.pack_scales(self.scales)]

    def dense(self) -> Array:
        """The weight matrix [outputs, block columns * bw] as the kernel multiplies it, float64."""
        b = self.layer.blocks
        if self.centroids is not None:
            values = self.centroids[self.payload].astype(np.float64)
        else:
            values = self.payload.astype(b.values_dtype if not b.planes else np.int16).astype(np.float64) * b.gain
        if self.zeros is not None:
            values -= self._spread(self.zeros) * b.gain
        if self.scales is not None:
            values *= self._spread(self.scales.astype(np.float64))
        if self.places is not None:
            fours = np.zeros((*self.places.shape, 4))
            columns = np.stack([self.places & 3, self.places >> 2], axis=-1).astype(np.intp)
            np.put_along_axis(fours, columns, values.reshape(*self.places.shape, 2), axis=-1)
            values = fours.reshape(len(values), -1)
        if self.index is None:
            return values
        columns = -(-b.depth // b.bw)
        matrix = np.zeros((b.outputs, columns * b.bw))
        for row in range(b.outputs):
            for place, column in enumerate(self.index[row // b.bh]):
                matrix[row, column * b.bw : (column + 1) * b.bw] = values[row, place * b.bw : (place + 1) * b.bw]
        return matrix

    def _spread(self, per_group: Array) -> Array:
        """One value a group as one a stored column."""
        b, columns = self.layer.blocks, self.payload.shape[1]
        return np.repeat(per_group, b.group * b.across if b.group else columns, axis=1)[:, :columns]

    def patches(self) -> Array:
        """The activations that each output meets, float64 [..., depth]."""
        layer, w = self.layer, self.layer.window
        x = self.x.astype(np.float64) - (layer.offset if layer.integer else 0)
        if w is None:
            return x
        taps = [
            x[
                :,
                i * w.dilation_h : i * w.dilation_h + (w.out_height - 1) * w.stride_h + 1 : w.stride_h,
                j * w.dilation_w : j * w.dilation_w + (w.out_width - 1) * w.stride_w + 1 : w.stride_w,
            ]
            for i in range(w.kernel_height)
            for j in range(w.kernel_width)
        ]
        return np.concatenate(taps, axis=-1)

    def expected(self) -> Array:
        """The result in float64, exact where everything is an integer."""
        return self.patches() @ self.dense().T

    def bound(self) -> Array:
        """How far any order of float32 sums may be from it: (terms + 3) * 2**-24 * sum of |terms|.

        Higham, Accuracy and Stability of Numerical Algorithms, 2002, section 3.1.
        """
        terms = self.layer.blocks.k * self.layer.blocks.bw + 3
        return terms * 2.0**-24 * (np.abs(self.patches()) @ np.abs(self.dense().T)) + 1e-30


@dataclass(frozen=True)
class Shape:
    """What a test draws; ``case`` makes the rest from it."""

    outputs: int
    block: tuple[int, int]
    columns: int  # block columns of one tap
    kept: int  # blocks in a block row; 0 is dense
    bits: int
    word: int
    group: int = 0  # blocks
    rows: tuple[int, ...] = (1,)  # of activations; () for a convolution
    image: tuple[int, int, int] = (1, 1, 1)  # batch, height, width
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    tile: int = 1
    offset: int = 0
    seed: int = 0
    asymmetric: bool = False
    centroids: int = 0
    pairs: bool = False  # two of four columns are stored; the block is four wide, and dense

    def case(self, lanes: int) -> Case:
        rng = np.random.default_rng(self.seed)
        bh, bw = self.block
        taps = 1 if self.rows else self.kernel[0] * self.kernel[1]
        columns = self.columns * taps
        k = self.kept or columns
        dtype = "float16" if self.group and self.seed % 2 else "float32" if self.group else ""
        more = {"asymmetric": self.asymmetric, "kept": 2 if self.pairs else 0}
        blocks = Blocks(
            self.outputs, columns * bw, bh, bw, k, self.kept > 0, self.bits, self.word, lanes, self.group, dtype, **more
        )
        if self.centroids:
            # Every device with vectors of eight or more has the instructions.
            lookup = Lookup(blocks.vector_lanes, self.centroids, blocks.vector_lanes in (8, 16))
            blocks = replace(blocks, centroids=lookup.size)
        shape, window = (*self.rows, columns * bw), None
        if not self.rows:
            window = self._window()
            shape = (window.batch, window.height, window.width, self.columns * bw)
        offset = self.offset if self.word == 4 else 0
        layer = Compressed(blocks, shape, window, self.tile, offset)
        shape_of_payload, half = (self.outputs, k * blocks.across), 2 ** (self.bits - 1)
        if self.centroids:
            payload = rng.integers(0, self.centroids, shape_of_payload).astype(np.uint8)
        elif self.bits <= 8:
            payload = rng.integers(-half, half, shape_of_payload).astype(np.int16)
        else:
            payload = rng.standard_normal(shape_of_payload).astype(np.float32)
        payload[rng.random(self.outputs) < 0.2] = 0  # whole rows
        index = None
        if self.kept:
            index = np.sort([rng.choice(columns, k, replace=False) for _ in range(blocks.block_rows)], axis=1)
        scales = None
        if self.group:
            scales = rng.uniform(0.1, 1, (self.outputs, -(-k // self.group))).astype(dtype)
        integer = layer.integer
        x = rng.integers(0, 256, shape).astype(np.uint8) if integer else rng.standard_normal(shape).astype(np.float32)
        zeros = rng.integers(-half, half, (self.outputs, blocks.groups)) if self.asymmetric else None
        centroids = rng.standard_normal(self.centroids).astype(np.float32) if self.centroids else None
        codes = np.array([0b0100, 0b1000, 0b1100, 0b1001, 0b1101, 0b1110], np.uint8)  # second place, first place
        places = rng.choice(codes, (self.outputs, k)) if self.pairs else None
        return Case(layer, payload, index, scales, x, zeros, centroids, places)

    def _window(self) -> Window:
        batch, *size = self.image
        reach = [(k - 1) * d + 1 for k, d in zip(self.kernel, self.dilation, strict=True)]
        height, width = (max(s, r) for s, r in zip(size, reach, strict=True))
        out = [(s - r) // t + 1 for s, r, t in zip((height, width), reach, self.stride, strict=True)]
        return Window(batch, height, width, *out, *self.kernel, *self.stride, *self.dilation, 0, 0)


def unpacked(blocks: Blocks, packed: Array) -> Array:
    """What ``Blocks.pack`` packed, [block rows * bh, k * bw], by the description in cpu_blocks.py."""
    b = blocks
    blocks, streams = b.units * b.unit, 1 if b.sparse else b.vectors
    packed = packed.reshape(b.block_rows * streams, b.units, -1)
    flat = np.zeros((b.block_rows * streams, blocks, b.elements // streams), np.int64)
    if not b.planes:
        flat = packed
    else:
        base, left = 0, b.bits
        for plane in b.planes:
            left -= plane
            share = 8 // plane
            for inside in range(b.unit):
                start = base + inside // share * flat.shape[2]
                fields = packed[:, :, start : start + flat.shape[2]] >> (inside % share * plane) & ((1 << plane) - 1)
                flat[:, inside :: b.unit] |= fields.astype(np.int64) << left
            base += b.unit * flat.shape[2] * plane // 8
        if not b.centroids:
            flat = np.where(flat >= 1 << (b.bits - 1), flat - (1 << b.bits), flat)
    order = flat.reshape(b.block_rows, streams, blocks, b.steps, b.vectors // streams, b.height, b.width, b.stored)
    found: Array = order.transpose(0, 1, 4, 5, 2, 3, 6, 7).reshape(b.block_rows * b.bh, blocks * b.across)
    assert not found[:, b.k * b.across :].any()
    return found[:, : b.k * b.across]


def artifact(cases: Sequence[Case], device: str) -> Artifact:
    """All cases in one network: inputs x0, x1, ... and outputs y0, y1, ..."""
    builder = relax.BlockBuilder()
    inputs = [
        relax.Var(f"x{n}", relax.TensorType(case.layer.shape, case.layer.data_dtype)) for n, case in enumerate(cases)
    ]
    with builder.function("main", inputs):
        with builder.dataflow():
            results = []
            for x, case in zip(inputs, cases, strict=True):
                function = builder.add_func(compressed(case.layer), "compressed")
                constants = [relax.const(array, str(array.dtype)) for array in case.arrays]
                out_type = relax.TensorType(case.layer.out_shape, case.layer.out_dtype)
                results.append(builder.emit(relax.call_tir(function, [x, *constants], out_ty=out_type)))
            result = builder.emit_output(relax.Tuple(results))
        builder.emit_func_output(result)
    names = [[f"{side}{n}" for n in range(len(cases))] for side in "xy"]
    with fast_tvmscript():
        return Artifact(pipeline.lower(builder.get(), resolve(device), *names), {"model": {}, "target": {}})


def check(cases: Sequence[Case], device: str, threads: int = 1) -> None:
    """Integers are exact; floats lie within ``Case.bound``."""
    with Session(artifact(cases, device).to_bytes(), threads=threads) as session:
        results = session.run({f"x{n}": case.x for n, case in enumerate(cases)})
    for n, case in enumerate(cases):
        got, wanted = results[f"y{n}"], case.expected()
        assert got.shape == wanted.shape
        assert got.dtype == case.layer.out_dtype
        if case.layer.out_dtype == "int32":
            np.testing.assert_array_equal(got, wanted, err_msg=str(case.layer))
        else:
            excess = np.abs(got - wanted) / case.bound()
            assert excess.max() <= 1, f"{excess.max():.2g} times what rounding explains: {case.layer}"
