"""The element decoder of blocks of any mode equals the decoder of the format, which equals Arm's, to the bit.

Everything is an integer until the last product, which is one rounding: equality, on NumPy arrays, in onnxruntime and in
kernels of cpu and OpenCL. Error blocks are compared, too: they have the error colour, whose red is 65535.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from onnx import TensorProto, helper

import tilewright
from tests.formats.codecs.astc.samples import Blocks, luminance_blocks, random_blocks, with_low_bits
from tests.formats.test_element import same
from tests.models import make_model
from tests.targets.gpu import needs_opencl
from tilewright.formats.codecs.astc import codec, decode, endpoints, general, modes
from tilewright.formats.element import Element, NumpyOps
from tilewright.runtime import Session
from tilewright.targets.packed_weights import ANY_MODE


class _Inside:
    """An array whose loads are in bounds, as they must be in a kernel."""

    def __init__(self, array: Any) -> None:
        self.array = array

    def __getitem__(self, index: Any) -> Any:
        for at, extent in zip(index if isinstance(index, tuple) else (index,), self.array.array.shape, strict=True):
            assert 0 <= np.min(at, initial=0) <= np.max(at, initial=0) < extent
        return self.array[index]


class _Checked(NumpyOps):
    def table(self, values: npt.ArrayLike) -> Any:
        return _Inside(super().table(values))

    def shift_right(self, value: Any, count: Any) -> Any:
        assert np.min(value) >= 0 <= np.min(count)
        return super().shift_right(value, count)

    def compute(self, shape: Any, element: Element, dtype: str, needed: Element | None = None) -> Any:
        wide = super().compute(shape, element, "int32" if dtype != "float32" else dtype, needed)
        narrow = super().compute(shape, element, dtype, needed)
        np.testing.assert_array_equal(narrow.array, wide.array)  # everything fits its type
        return _Inside(narrow)


def decoded(blocks: Blocks, footprint: tuple[int, int]) -> npt.NDArray[np.float32]:
    """C of every texel, [blocks, texels], by the element decoder: of a matrix that is one block high."""
    width, height = footprint
    ops = _Checked()
    loads = {"blocks": ops.table(blocks.ravel()), "scales": ops.table(np.ones(height, np.float32))}
    shape = height, width * len(blocks)
    element = general.decoder(ops, loads, shape, footprint, zero=0)
    matrix = NumpyOps().compute(shape, element, "float32").array
    return matrix.reshape(height, len(blocks), width).swapaxes(0, 1).reshape(len(blocks), -1)


def check(blocks: Blocks, footprint: tuple[int, int]) -> None:
    expected = decode.decode(blocks, footprint, channels=1).reshape(len(blocks), -1)
    np.testing.assert_array_equal(decoded(blocks, footprint), expected)


@settings(max_examples=60, deadline=None)
@given(arrays(np.uint8, st.tuples(st.integers(1, 40), st.just(16))), st.sampled_from(modes.FOOTPRINTS))
def test_any_bits(blocks: Blocks, footprint: tuple[int, int]) -> None:
    check(blocks, footprint)


@pytest.mark.parametrize("footprint", [(4, 4), (6, 5), (8, 6), (12, 12)])  # magnified patterns, and not; 12 wide
def test_every_block_mode(footprint: tuple[int, int]) -> None:
    """All 2,048 codes, reserved ones too, with any partitions, planes and endpoint modes; and luminance."""
    rng = np.random.default_rng(footprint)
    blocks = with_low_bits(random_blocks(rng, 2048), np.arange(2048), 11)
    texels, illegal = decode.decode_checked(blocks, footprint, 1)
    assert 0 < illegal.sum() < 2048
    assert (texels[illegal] == 65535).all()
    check(blocks, footprint)
    check(luminance_blocks(rng, footprint, 300), footprint)


@pytest.mark.parametrize("footprint", [(4, 4), (12, 12)])
def test_void_extents(footprint: tuple[int, int]) -> None:
    """Legal ones, everywhere or of some extent, and illegal ones: reserved bits, empty extents, HDR."""
    extents = [(8191,) * 4, (0, 8191, 0, 8191), (3, 4, 8, 9), (5, 5, 1, 2), (1, 2, 6, 5), (8191, 8191, 8191, 8190)]
    words = [
        modes.VOID | flags << 9 | sum(edge << 12 + 13 * place for place, edge in enumerate(edges))
        for edges in extents
        for flags in range(8)
    ]
    blocks = random_blocks(np.random.default_rng(1), len(words))
    blocks[:, :8] = np.array(words, "<u8").view(np.uint8).reshape(-1, 8)
    assert np.flatnonzero(~decode.decode_checked(blocks, footprint, 1)[1]).tolist() == [6, 14, 22]
    check(blocks, footprint)


def test_red_of_endpoint_modes_that_are_taken_together() -> None:
    values = np.random.default_rng(2).integers(0, 256, (8, 500)).astype(np.int32)
    for mode, alike in general.RED_MODES.items():
        both = [endpoints.decode(kind, values[: endpoints.values_of(kind)], 1) for kind in (mode, alike)]
        np.testing.assert_array_equal(*both)
    assert set(range(16)) - set(general.RED_MODES) == {2, 3, 7, 11, 14, 15}  # of high dynamic range: the error colour


@pytest.mark.parametrize(
    "spec", ["astc(4,4,astcenc=60)", "astc(10,8,astcenc=10)", "block_sparse(4,4) astc(6,6,astcenc=10)"]
)
def test_what_astcenc_writes(spec: str) -> None:
    pytest.importorskip("astc_encoder", reason="the reference codec is missing: pip install astc-encoder-py")
    matrix = np.random.default_rng(3).standard_normal((41, 50), np.float32)
    same(matrix, spec, 0.5 if "sparse" in spec else None)


@cache
def network() -> tuple[onnx.ModelProto, npt.NDArray[np.float32]]:
    """A compressed layer of astcenc's blocks and as many random ones of every mode, and what its weights are."""
    rng, shape, footprint = np.random.default_rng(4), (240, 192), (6, 6)
    weight = rng.standard_normal(shape, np.float32)
    model = make_model(
        [helper.make_node("MatMul", ["x", "w"], ["y"], name="fc")],
        {"x": (TensorProto.FLOAT, [shape[0], shape[0]])},
        {"y": (TensorProto.FLOAT, list(shape))},
        {"w": weight},
    )
    small = tilewright.compress(model, {"quantize": {"weights": "astc(6,6,astcenc=0)"}})
    arrays = {tensor.name: tensor for tensor in small.graph.initializer}
    blocks = onnx.numpy_helper.to_array(arrays["w.blocks"]).copy()
    assert blocks.shape == (32, 40, 16)
    blocks[16:] = with_low_bits(random_blocks(rng, 640), rng.permutation(2048)[:640], 11).reshape(16, 40, 16)
    arrays["w.blocks"].CopyFrom(onnx.numpy_helper.from_array(blocks, "w.blocks"))
    texels = decode.decode(blocks.reshape(-1, 16), footprint, 1).astype(np.int32) - codec.ZERO
    matrix = texels.reshape(32, 40, 6, 6).swapaxes(1, 2).reshape(192, 240)
    return small, (matrix * onnx.numpy_helper.to_array(arrays["w.scales"])[:, None]).T.astype(np.float32)


@pytest.mark.parametrize("target", ["onnxruntime", "cpu", "mali"])
def test_end_to_end(target: str) -> None:
    """A product by the identity shows the weights: sums of one term and zeros are exact."""
    pytest.importorskip("astc_encoder", reason="the reference codec is missing: pip install astc-encoder-py")
    model, expected = network()
    feeds = {"x": np.eye(240, dtype=np.float32)}
    if target == "onnxruntime":
        (got,) = onnxruntime.InferenceSession(model.SerializeToString()).run(None, feeds)
    else:
        if target == "mali":
            needs_opencl()
        artifact = tilewright.compile(model, target)
        (reason,) = artifact.plan.unpacked.values()
        assert reason == ANY_MODE
        with Session(artifact.to_bytes()) as session:
            (got,) = session.run(feeds).values()
    np.testing.assert_array_equal(got, expected)
