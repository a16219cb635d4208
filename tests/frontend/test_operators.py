"""Where TVM's own ONNX importer is silently wrong, ours is held to onnxruntime (or to NumPy where that lacks the type).

Tolerances: exact for what moves or rounds elements, 1e-5 for sums of a few hundred float32 products of order one.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest

import tilewright
from tilewright.frontend.operators import TABLE, TOPICS
from tilewright.runtime import Session

Array = npt.NDArray[Any]


def _parse(body: str, opset: int) -> onnx.ModelProto:
    return onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : {opset}]> {body}')


def _ours(model: onnx.ModelProto, feeds: Mapping[str, Array], folder: Path) -> list[Array]:
    artifact = tilewright.compile(model, target="cpu")
    artifact.save(folder / "model.tw")
    results = Session(folder / "model.tw").run(dict(feeds))
    return [results[value.name] for value in model.graph.output]


def _theirs(model: onnx.ModelProto, feeds: Mapping[str, Array]) -> list[Array]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return list(session.run(None, dict(feeds)))


def normal(*shape: int) -> Array:
    return np.random.default_rng(3).standard_normal(shape).astype(np.float32)


CASES: Mapping[str, tuple[str, int, Mapping[str, Array]]] = {
    "layer normalisation with its statistics": (
        "g (float[2, 8] x, float[8] s, float[8] b) => (float[2, 8] y, float[2, 1] m, float[2, 1] d)"
        " { y, m, d = LayerNormalization(x, s, b) }",
        17,
        {"x": normal(2, 8), "s": normal(8), "b": normal(8)},
    ),
    "space to depth, and back in both modes": (
        "g (float[1, 8, 4, 6] x) => (float[1, 2, 8, 12] y, float[1, 2, 8, 12] z, float[1, 32, 2, 3] w) {"
        ' y = DepthToSpace<blocksize = 2, mode = "CRD">(x) z = DepthToSpace<blocksize = 2>(x)'
        " w = SpaceToDepth<blocksize = 2>(x) }",
        13,
        {"x": np.arange(192, dtype=np.float32).reshape(1, 8, 4, 6)},
    ),
    "resize with fractional scales": (
        "g (float[1, 2, 5, 7] x) => (float[1, 2, M, N] y) <float[4] s = {1.0, 1.0, 1.7, 0.6}> {"
        ' y = Resize<mode = "linear", coordinate_transformation_mode = "half_pixel">(x, , s) }',
        18,
        {"x": normal(1, 2, 5, 7)},
    ),
    "nearest resize in every rounding": (
        "g (float[1, 1, 7] x) => (float[1, 1, 5] a, float[1, 1, 5] b, float[1, 1, 5] c, float[1, 1, 5] d)"
        " <int64[3] n = {1, 1, 5}> {"
        ' a = Resize<nearest_mode = "floor">(x, , , n) b = Resize<nearest_mode = "ceil">(x, , , n)'
        ' c = Resize<nearest_mode = "round_prefer_floor">(x, , , n)'
        ' d = Resize<nearest_mode = "round_prefer_ceil", coordinate_transformation_mode = "align_corners">(x, , , n) }',
        18,
        {"x": np.arange(7, dtype=np.float32).reshape(1, 1, 7)},
    ),
    "fmod at its edges": (
        "g (float[8] x, float[8] z) => (float[8] y) { y = Mod<fmod = 1>(x, z) }",
        13,
        {
            "x": np.float32([5.5, -5.5, 5.5, -5.5, 0.0, 1e20, 3.0, -4.0]),
            "z": np.float32([2.0, 2.0, -2.0, -2.0, 3.0, 7.0, 1e20, 2.0]),
        },
    ),
    "integer modulo and division of both signs": (
        "g (int32[4] x, int32[4] z) => (int32[4] p, int32[4] q, int32[4] r)"
        " { p = Mod(x, z) q = Mod<fmod = 1>(x, z) r = Div(x, z) }",
        14,
        {"x": np.int32([7, -7, 7, -7]), "z": np.int32([3, 3, -3, -3])},
    ),
    "transposed convolution to a given shape": (
        "g (float[1, 3, 5, 5] x, float[3, 4, 3, 3] w) => (float[1, 4, 10, 10] y)"
        " { y = ConvTranspose<strides = [2, 2], output_shape = [10, 10]>(x, w) }",
        11,
        {"x": normal(1, 3, 5, 5), "w": normal(3, 4, 3, 3)},
    ),
    "transposed convolution with groups, dilation and padding": (
        "g (float[1, 4, 5, 6] x, float[4, 3, 3, 2] w) => (float[1, 6, M, N] y)"
        " { y = ConvTranspose<strides = [2, 3], dilations = [2, 1], group = 2, pads = [1, 0, 2, 1],"
        " output_padding = [1, 0]>(x, w) }",
        11,
        {"x": normal(1, 4, 5, 6), "w": normal(4, 3, 3, 2)},
    ),
    "transposed convolution without overlap": (
        "g (float[1, 4, 5, 6] x, float[4, 3, 2, 2] w, float[3] b) => (float[1, 3, 10, 12] y)"
        " { y = ConvTranspose<strides = [2, 2]>(x, w, b) }",
        11,
        {"x": normal(1, 4, 5, 6), "w": normal(4, 3, 2, 2), "b": normal(3)},
    ),
    "powers of integers and of mixed types": (
        "g (int64[4] x, int64[4] e, float[4] f) => (int64[4] a, float[4] b) { a = Pow(x, e) b = Pow(f, e) }",
        13,
        {"x": np.int64([3, -2, -1, 10]), "e": np.int64([39, 3, 7, 18]), "f": np.float32([1.5, -2.0, 3.0, 0.5])},
    ),
    "infinite rows": (
        "g (float[2, 3] x) => (float[2, 1] a, float[2, 1] b, float[2, 1] c) <int64[1] axes = {1}> {"
        " a = ReduceMax(x, axes) b = ReduceMin(x, axes) c = ReduceLogSumExp(x, axes) }",
        18,
        {"x": np.float32([[-np.inf] * 3, [np.inf] * 3])},
    ),
    "softmax before opset 13 works on a matrix": (
        "g (float[2, 3, 4] x) => (float[2, 3, 4] y, float[2, 3, 4] z)"
        " { y = Softmax<axis = 1>(x) z = LogSoftmax<axis = 1>(x) }",
        11,
        {"x": normal(2, 3, 4)},
    ),
    "average pooling past the padding": (
        "g (float[1, 2, 6, 6] x) => (float[1, 2, M, N] y, float[1, 2, M, N] z) {"
        " y = AveragePool<kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1], ceil_mode = 1>(x)"
        " z = MaxPool<kernel_shape = [3, 3], strides = [2, 2], ceil_mode = 1>(x) }",
        19,
        {"x": normal(1, 2, 6, 6)},
    ),
    "scatter with repeated and negative indices": (
        "g (float[5, 2] x, int64[3, 2] i, float[3, 2] u) => (float[5, 2] y, float[5, 2] z)"
        ' { y = ScatterElements<reduction = "add">(x, i, u) z = ScatterElements<reduction = "max">(x, i, u) }',
        18,
        {"x": normal(5, 2), "i": np.int64([[0, -1], [0, 2], [4, -1]]), "u": normal(3, 2)},
    ),
    "a bidirectional LSTM with lengths, states and peepholes": (
        "g (float[5, 2, 3] x, float[2, 16, 3] w, float[2, 16, 4] r, float[2, 32] b, int32[2] n, float[2, 2, 4] h,"
        " float[2, 2, 4] c, float[2, 12] p) => (float[5, 2, 2, 4] y, float[2, 2, 4] yh, float[2, 2, 4] yc)"
        ' { y, yh, yc = LSTM<direction = "bidirectional", hidden_size = 4>(x, w, r, b, n, h, c, p) }',
        14,
        {
            "x": normal(5, 2, 3),
            "w": normal(2, 16, 3),
            "r": normal(2, 16, 4),
            "b": normal(2, 32),
            "n": np.int32([5, 3]),
            "h": normal(2, 2, 4),
            "c": normal(2, 2, 4),
            "p": normal(2, 12),
        },
    ),
    "a reverse GRU in both forms": (
        "g (float[4, 2, 3] x, float[1, 12, 3] w, float[1, 12, 4] r, float[1, 24] b) =>"
        " (float[4, 1, 2, 4] y, float[4, 1, 2, 4] z) {"
        ' y = GRU<direction = "reverse", hidden_size = 4>(x, w, r, b)'
        " z = GRU<hidden_size = 4, linear_before_reset = 1>(x, w, r, b) }",
        14,
        {"x": normal(4, 2, 3), "w": normal(1, 12, 3), "r": normal(1, 12, 4), "b": normal(1, 24)},
    ),
    "quantised convolution with padding": (
        "g (uint8[1, 3, 6, 6] x, int8[4, 3, 3, 3] w, float[4] ws, int32[4] b) => (uint8[1, 4, 6, 6] y)"
        " <float xs = {0.02}, uint8 xz = {7}, int8[4] wz = {0, 0, 0, 0}, float ys = {0.9}, uint8 yz = {128}>"
        " { y = QLinearConv<pads = [1, 1, 1, 1]>(x, xs, xz, w, ws, wz, ys, yz, b) }",
        13,
        {
            "x": np.random.default_rng(1).integers(0, 256, (1, 3, 6, 6), dtype=np.uint8),
            "w": np.random.default_rng(2).integers(-128, 128, (4, 3, 3, 3), dtype=np.int8),
            "ws": np.float32([0.1, 0.2, 0.3, 0.05]),
            "b": np.int32([5, -100, 1000, 0]),
        },
    ),
    "gathered by tuples into an axis of one element": (
        "g (float[2, 2, 2] x, int64[2, 1, 2] i) => (float[2, 1, 2] y) { y = GatherND(x, i) }",
        13,
        {"x": np.arange(8, dtype=np.float32).reshape(2, 2, 2), "i": np.int64([[[0, 1]], [[1, 0]]])},
    ),
    "bytes by their own range, of a tensor and of a scalar": (
        "g (float[2, 3] x, float v) => (uint8[2, 3] y, float s, uint8 z, uint8 w)"
        " { y, s, z = DynamicQuantizeLinear(x) w, t, u = DynamicQuantizeLinear(v) }",
        13,
        {"x": np.float32([[0.25, -0.75, 3], [1, 2, -2.5]]), "v": np.asarray(np.float32(-3))},
    ),
    "rounding half to even, and saturation": (
        "g (float[6] x) => (int8[6] y, float[6] r) <float s = {0.5}, int8 z = {3}>"
        " { y = QuantizeLinear(x, s, z) r = Round(x) }",
        13,
        {"x": np.float32([0.25, 0.75, -0.25, 1e9, -1e9, 2.5])},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_agrees_with_onnxruntime(name: str, tmp_path: Path) -> None:
    body, opset, feeds = CASES[name]
    model = _parse(body, opset)
    for wanted, got in zip(_theirs(model, feeds), _ours(model, feeds, tmp_path), strict=True):
        assert wanted.dtype == got.dtype
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("index", [-(2**40), -8, 7, 2**40])
def test_an_index_out_of_range_reads_no_foreign_memory(index: int, tmp_path: Path) -> None:
    """ONNX leaves the result open; ours is an element of the data, whatever the index."""
    model = _parse("g (float[5] x, int64[1] i) => (float[1] y) { y = Gather(x, i) }", 13)
    (result,) = _ours(model, {"x": np.arange(5, dtype=np.float32), "i": np.int64([index])}, tmp_path)
    assert result[0] in range(5)


def test_no_operator_is_listed_twice() -> None:
    names = [name for topic in TOPICS for name in topic.OPERATORS]
    assert len(names) == len(set(names)) == len(TABLE)
