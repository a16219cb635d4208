"""Masks reach their weights, planted structures are found again, and sizes are those of the formats."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.passes.support import run
from tests.passes.test_coupling import network, prepared, random
from tilewright.errors import DataError
from tilewright.formats.layouts.block_sparse import SIDES, BlockSparse
from tilewright.formats.layouts.two_four import TwoFour
from tilewright.formats.packed import pack
from tilewright.formats.registry import parse
from tilewright.passes.coupling import couple
from tilewright.passes.masks import Masks, detect, load_masks
from tilewright.passes.weights import all_weights, spaces_by_value

FEEDS = {"x": random(1, 3, 8, 8)}


def matrix(rows: int, columns: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0.5, 1, (rows, columns)).astype(np.float32)


@given(st.sampled_from(SIDES), st.sampled_from(SIDES), st.integers(1, 4), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_a_planted_block_structure_is_found(bh: int, bw: int, kept: int, seed: int) -> None:
    """Half of 8 blocks or fewer in each of 3 block rows; sides of 1 and 2 are often parts of a larger pattern."""
    weight = matrix(3 * bh, 8 * bw, seed)
    chosen = np.array([np.random.default_rng(seed + row).permutation(8) < kept for row in range(3)])
    weight *= chosen.repeat(bh, axis=0).repeat(bw, axis=1)
    found = detect(weight, bits=16)
    planted = pack(weight, parse(f"block_sparse({bh},{bw}) f16"))
    best = pack(weight, parse(f"{found.layout.spec} f16"))
    assert found.nbytes == best.nbytes <= planted.nbytes
    assert found.dense_nbytes == pack(weight, "f16").nbytes
    assert found.density == kept / 8
    if isinstance(found.layout, BlockSparse) and best.nbytes == planted.nbytes:
        assert found.layout.bh * found.layout.bw >= bh * bw


def test_padding_counts() -> None:
    """13 rows are 16 in blocks of four, 14 in blocks of two: the smaller block may be the better one."""
    weight = matrix(13, 51)
    for planted in (BlockSparse(4, 8), BlockSparse(8, 4)):
        pruned = np.where(planted.prune(weight, 0.3), weight, np.float32(0))
        sizes = {}
        for layout in (planted, detect(pruned).layout):
            packed = pack(pruned, f"{layout.spec} int8(per=tensor)")
            sizes[layout.spec] = packed.nbytes - packed.sizes["scales"]
        found = detect(pruned)
        assert found.nbytes == sizes[found.layout.spec] == min(sizes.values())


def test_two_of_four() -> None:
    weight = matrix(16, 66)
    weight *= TwoFour().prune(matrix(16, 66, 1), 0.5)
    found = detect(weight)
    assert found.layout == TwoFour()
    packed = pack(weight, "two_four int8(per=tensor)")
    assert found.nbytes == packed.nbytes - packed.sizes["scales"]


def test_what_has_no_structure_is_dense() -> None:
    weight = matrix(64, 64)
    assert detect(weight).layout.spec == "dense"
    few = np.where(matrix(64, 64, 1) > 0.55, weight, np.float32(0))  # 10 % zeros anywhere
    found = detect(few)
    assert (found.layout.spec, found.nbytes) == ("dense", 64 * 64)
    assert found.density == np.mean(few != 0)
    empty = detect(np.zeros((8, 8), np.float32))
    assert empty.density == 0
    assert empty.nbytes < empty.dense_nbytes


def test_many_scattered_zeros_are_balanced_single_weights() -> None:
    weight = np.where(matrix(32, 256, 1) > 0.97, matrix(32, 256), np.float32(0))  # 6 % stay
    assert detect(weight, bits=8).layout == BlockSparse(1, 1)


def test_masks_by_weight_and_by_layer() -> None:
    model = prepared(network())
    weights = {weight.layer: weight for weight in all_weights(model.graph)}
    before = {name: weight.value.const_value.numpy() for name, weight in weights.items()}  # type: ignore[union-attr]
    rng = np.random.default_rng(5)
    fc = rng.random(before["fc"].shape) < 0.5
    depthwise = (rng.random(before["depthwise"].shape) < 0.5).astype(np.int64)
    step = Masks({str(weights["fc"].value.name): fc, "depthwise": depthwise})
    assert step(model).modified
    onnx.checker.check_model(onnx.load_from_string(_serialised(model)), full_check=True)
    expected = {**before, "fc": before["fc"] * fc, "depthwise": before["depthwise"] * depthwise}
    for weight in all_weights(model.graph):
        assert weight.value.const_value is not None
        np.testing.assert_array_equal(weight.value.const_value.numpy(), expected[weight.layer], strict=False)
    report = {layer.layer: layer for layer in step.layers}
    assert list(report) == list(weights)
    lost = np.abs(before["fc"] * ~fc).sum() / np.abs(before["fc"]).sum()
    assert report["fc"].masked == pytest.approx(lost, rel=1e-5)
    assert report["c1"].masked == 0
    assert report["depthwise"].structure.density == pytest.approx(depthwise.mean())
    assert all(np.isfinite(output).all() for output in run(model, FEEDS))


def _serialised(model: object) -> bytes:
    import onnx_ir as ir

    assert isinstance(model, ir.Model)
    return ir.to_proto(model).SerializeToString()


def test_zeros_that_are_there_need_no_mask() -> None:
    model = prepared(network())
    along = spaces_by_value(couple(model.graph))
    (weight,) = (weight for weight in all_weights(model.graph, along) if weight.layer == "fc")
    weight.store(np.where(BlockSparse(4, 4).prune(weight.matrix, 0.25), weight.matrix, np.float32(0)))
    step = Masks()
    assert not step(model).modified
    found = next(layer.structure for layer in step.layers if layer.layer == "fc")
    assert found.layout == BlockSparse(4, 4)
    assert found.density == 0.25


def test_everything_that_is_wrong_is_told_at_once() -> None:
    model = prepared(network())
    weights = {weight.layer: weight for weight in all_weights(model.graph)}
    before = _serialised(model)
    shape = weights["fc"].value.const_value.shape.numpy()  # type: ignore[union-attr]
    masks = {
        "nothing": np.ones(3),
        "c1": np.ones((2, 2)),
        "fc": np.ones(shape),
        str(weights["fc"].value.name): np.ones(shape),
        "c2": np.full(weights["c2"].value.const_value.shape.numpy(), 0.5),  # type: ignore[union-attr]
        "c3": np.full(weights["c3"].value.const_value.shape.numpy(), "1"),  # type: ignore[union-attr]
        "c4": np.full(weights["c4"].value.const_value.shape.numpy(), np.nan),  # type: ignore[union-attr]
    }
    with pytest.raises(DataError) as caught:
        Masks(masks)(model)
    text = str(caught.value)
    for told in (
        "mask 'nothing': the model has no such weight or layer (name the weight or its layer: c1, c2",
        "mask 'c1' of layer c1: its shape is [2, 2], that of the weight [8, 3, 3, 3]",
        f"mask '{weights['fc'].value.name}' of layer fc: 'fc' is a mask of the same weight",
        "mask 'c2' of layer c2: it has elements other than 0 and 1",
        "mask 'c3' of layer c3: its dtype is <U1",
        "mask 'c4' of layer c4: it has elements other than 0 and 1",
    ):
        assert told in text
    assert _serialised(model) == before


def test_files(tmp_path: Path) -> None:
    masks = {"fc": np.eye(3, dtype=bool), "layer/with.odd name": np.ones((2, 2), np.uint8)}
    np.savez(tmp_path / "masks.npz", **masks)
    loaded = load_masks(tmp_path / "masks.npz")
    assert loaded.keys() == masks.keys()
    for name, mask in masks.items():
        np.testing.assert_array_equal(loaded[name], mask, strict=True)
    np.save(tmp_path / "one.npy", np.ones(3))
    (tmp_path / "text.npz").write_text("hello")
    (tmp_path / "empty.npz").write_bytes(b"")
    (tmp_path / "cut.npz").write_bytes((tmp_path / "masks.npz").read_bytes()[:-30])
    np.savez(tmp_path / "objects.npz", fc=np.array([{}], object))
    for name in ("one.npy", "text.npz", "empty.npz", "cut.npz", "missing.npz", "objects.npz"):
        with pytest.raises(DataError, match=name.replace(".", r"\.")):
            load_masks(tmp_path / name)
