"""The passes together: every recipe gives legal ONNX that onnxruntime runs, and an artifact that computes the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
import pytest

import tilewright
from tests.passes.test_coupling import network
from tests.passes.test_smooth import block, feeds_of
from tilewright import compression
from tilewright.errors import AccuracyError, DataError, RecipeError, UsageError
from tilewright.numeric import relative_l2
from tilewright.passes.execution import runner
from tilewright.recipe_loader import PRESETS
from tilewright.report import Report
from tilewright.runtime import Session

Array = npt.NDArray[Any]


def samples(count: int = 24, seed: int = 7) -> dict[str, Array]:
    return {"x": np.random.default_rng(seed).standard_normal((count, 3, 8, 8), np.float32)}


def outputs(model: Any, x: Array) -> Array:
    graph = ir.from_proto(model) if isinstance(model, onnx.ModelProto) else model
    return next(iter(runner(graph)({"x": x}).values()))


def compressed(recipe: Any) -> compression.Compression:
    return compression.run(network(), recipe, calibration=samples())


@pytest.mark.parametrize("preset", sorted(set(PRESETS) - {"fp16"}))
def test_presets_give_legal_onnx(preset: str) -> None:
    done = compressed(preset)
    proto = done.to_proto()
    onnx.checker.check_model(proto, full_check=True)
    assert np.isfinite(outputs(proto, samples(1, 8)["x"])).all()
    assert sum(done.report.file.values()) == len(proto.SerializeToString())  # to the byte
    assert done.report.bytes == sum(layer.bytes for layer in done.report.layers)
    if preset != "fp32":
        assert done.report.bytes < done.report.bytes_before


# Relative L2 of logits of a random network after weights of 8 bits: about 2^-8 a layer through seven layers, and as
# much again for 8-bit activations; 5 % tells both from a wrong scale or a misplaced channel: those give errors near 1.
@pytest.mark.parametrize("preset", ["int8", "weights8"])
def test_eight_bits_hardly_change_the_outputs(preset: str) -> None:
    x = samples(1, 9)["x"]
    assert relative_l2(outputs(compressed(preset).model, x), outputs(network(), x)) < 0.05


def test_without_pruning_a_pivoted_network_is_the_same() -> None:
    recipe = {"prune": {"density": 1.0, "layout": "block_sparse(4,4)"}}
    x = samples(1, 9)["x"]
    # 1e-5: channels are added up in another order.
    assert relative_l2(outputs(compressed(recipe).model, x), outputs(network(), x)) < 1e-5


RECIPES = [
    {"preset": "sparse90-int4", "storage": {"entropy": True}},
    {"cluster": {"centroids": 16}, "storage": {"entropy": True}},
    {"preset": "int8", "layer": [{"name": "c1", "weights": "vbd(5)"}, {"name": "fc", "weights": "astc(6,6)"}]},
    {"prune": {"density": 0.5, "layout": "two_four"}, "quantize": {"weights": "f16"}},
]


@pytest.mark.parametrize("recipe", RECIPES, ids=["sparse int4", "clustered", "mixed codecs", "two_four"])
def test_the_artifact_computes_what_onnxruntime_does(recipe: dict[str, Any]) -> None:
    artifact = tilewright.compile(network(), "cpu", recipe=recipe, calibration=samples())
    x = samples(1, 9)["x"]
    with Session(artifact.to_bytes()) as session:
        got = next(iter(session.run({"x": x}).values()))
    # 1e-4: fp32 sums in another order, as for uncompressed networks. An activation that lies at the border of two
    # integers may be rounded to the other one: a step of 1/255 of its range, in one of hundreds.
    assert relative_l2(got, outputs(artifact.graph, x)) < (
        1e-4 if "preset" not in recipe or "int4" in recipe["preset"] else 1e-2
    )
    report: Report = artifact.report
    assert report.file_bytes == len(artifact.to_bytes())
    assert report.file["compressed weights"] == sum(layer.bytes for layer in report.layers if layer.format != "float")
    assert artifact.metadata["formats"] == {
        layer.weight: layer.format for layer in report.layers if layer.format != "float"
    }


def test_a_compressed_model_compiles_to_the_same_artifact(tmp_path: Path) -> None:
    recipe = {"preset": "sparse90-int8"}
    file = tmp_path / "compressed.onnx"
    onnx.save(tilewright.compress(network(), recipe), file)
    direct = tilewright.compile(network(), "cpu", recipe=recipe)
    through_file = tilewright.compile(file, "cpu")
    assert through_file.plan.text() == direct.plan.text()
    assert [layer.format for layer in through_file.report.layers] == [layer.format for layer in direct.report.layers]


def test_layers_follow_their_entries() -> None:
    entries = [
        {"kind": "depthwise", "weights": "float"},
        {"name": "c?", "weights": "int4"},
        {"name": "c2", "density": 0.5},
    ]
    recipe = {"quantize": {"weights": "int8"}, "prune": {"layout": "block_sparse(2,2)"}, "layer": entries}
    formats = {layer.layer: layer.format for layer in compressed(recipe).report.layers}
    assert (formats["c1"], formats["c2"], formats["fc"]) == ("int4", "int4 block_sparse(2,2)", "int8")
    assert "float" in formats.values()


def test_a_format_that_does_not_pay_is_not_used() -> None:
    layers = {layer.layer: layer for layer in compressed({"quantize": {"weights": "f32"}}).report.layers}
    assert all(layer.format == "float" and "f32 would take" in layer.note for layer in layers.values())


def test_the_allocation_keeps_its_budget_and_is_reported() -> None:
    report = compressed({"allocate": {"bits": 5.0}}).report
    assert report.bits_per_weight <= 5.0
    (chosen,) = [point for point in report.front if point.chosen]
    assert chosen.bytes == report.bytes
    assert chosen.measured is not None
    assert "int4(group=32)" in {point.uniform for point in report.front}


def test_what_needs_calibration_says_so_before_any_work() -> None:
    with pytest.raises(UsageError, match=r"quantize\.activations.*--calib"):
        compression.run("nowhere.onnx", "int8")
    with pytest.raises(UsageError, match="allocate"):
        compression.run("nowhere.onnx", "mixed4")


def test_nan_weights_are_named() -> None:
    model = network()
    for tensor in model.graph.initializer:
        if tensor.name == "w2":
            array = onnx.numpy_helper.to_array(tensor).copy()
            array.flat[0] = np.nan
            tensor.CopyFrom(onnx.numpy_helper.from_array(array, "w2"))
    with pytest.raises(DataError, match="c2"):
        compression.run(model, "weights8")
    with pytest.raises(DataError, match="c2"):
        compression.run(model, {"prune": {"density": 0.5}})


def test_nan_weights_are_named_whatever_comes_first() -> None:
    model = network()
    (tensor,) = [tensor for tensor in model.graph.initializer if tensor.name == "w2"]
    tensor.CopyFrom(onnx.numpy_helper.from_array(np.full(tensor.dims, np.nan, np.float32), "w2"))
    for recipe in ({"preset": "sparse90-int8"}, {"quantize": {"weights": "int8", "equalize": True}}):
        with pytest.raises(DataError, match=r"cannot be compressed:\n  - c2"):
            compression.run(model, recipe)


def test_entries_that_name_no_layer_are_errors() -> None:
    entries = [{"name": "c1", "weights": "int8"}, {"name": "cc2*", "weights": "int4"}, {"kind": "table"}]
    with pytest.raises(RecipeError, match=r"layer\[1\]\.name: no layer is called 'cc2\*'; there are c2") as stop:
        compressed({"layer": entries})
    assert "layer[0]" not in str(stop.value)
    assert "layer[2]" not in str(stop.value)


def test_gate_data_are_looked_for_before_any_work() -> None:
    with pytest.raises(DataError, match=r"accuracy\.data: there is no file .*nowhere\.npz"):
        compressed({"quantize": {"weights": "int8"}, "accuracy": {"data": "nowhere.npz"}})


def test_the_gate(tmp_path: Path) -> None:
    np.savez(tmp_path / "test.npz", **samples(40, 11))
    recipe = {"accuracy": {"data": str(tmp_path / "test.npz"), "max_drop": 0.2}}
    done = compressed({"preset": "weights8", **recipe})
    assert done.report.gate is not None
    assert done.report.gate.metric == "agreement with the float model"
    assert done.report.gate.samples == 40
    with pytest.raises(AccuracyError, match=r"fell from 100\.00% to .* on 40 samples"):
        compressed({"prune": {"density": 0.01}, **recipe})


def test_masks_are_applied_and_their_structure_is_found(tmp_path: Path) -> None:
    w2 = next(tensor for tensor in network().graph.initializer if tensor.name == "w2")
    mask = np.zeros(w2.dims, bool)
    mask[::2] = True  # whole output channels: blocks of one row
    np.savez(tmp_path / "masks.npz", w2=mask)
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('[prune]\nmasks = "masks.npz"\nlayout = "detect"\n[quantize]\nweights = "int8"\n')
    layers = {layer.weight: layer for layer in compressed(recipe).report.layers}
    assert layers["w2"].note == "masked: 50.0% of the weights are left"
    assert all("masked" not in layer.note for name, layer in layers.items() if name != "w2")
    dense = {layer.weight: layer for layer in compressed("weights8").report.layers}
    assert layers["w2"].bytes <= dense["w2"].bytes


def test_masks_of_another_shape_are_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "masks.npz", w2=np.ones((2, 2), bool), nowhere=np.ones(3, bool))
    with pytest.raises(DataError, match=r"(?s)w2.*nowhere|nowhere.*w2"):
        compressed({"prune": {"masks": str(tmp_path / "masks.npz")}})


def test_low_rank_with_a_residual() -> None:
    recipe = {"lowrank": {"rank": 2, "residual": "int8"}, "quantize": {"weights": "f16"}}
    done = compressed(recipe)
    formats = {layer.layer: layer.format for layer in done.report.layers}
    split = [layer.layer for layer in done.report.layers if layer.note.startswith("rank 2")]
    assert split
    assert all(formats[f"{layer}/down"] == "f16" and formats[f"{layer}/residual"] == "int8" for layer in split)
    x = samples(1, 9)["x"]
    # The residual makes up for the rank; int8 leaves 2^-8 of it, and six layers add up: 5 % as for int8 above.
    assert relative_l2(outputs(done.model, x), outputs(network(), x)) < 0.05
    without = compressed({"lowrank": {"rank": 2}}).model
    assert relative_l2(outputs(without, x), outputs(network(), x)) > 0.1


def test_adaptive_rounding_moves_outputs_less() -> None:
    x = samples(1, 9)["x"]

    def error(rounding: str) -> float:
        recipe = {"quantize": {"weights": "int3", "rounding": rounding}}
        return relative_l2(outputs(compressed(recipe).model, x), outputs(network(), x))

    assert error("adaptive") < 0.9 * error("nearest")


def test_weights_that_are_quantized_already_stay_and_are_reported() -> None:
    once = compressed("weights8")
    assert once.report.notes == ()
    twice = compression.run(once.to_proto(), "int4")
    assert any(note.startswith("fc: its weight is packed already, as dense int8") for note in twice.report.notes)
    x = samples(1, 9)["x"]
    np.testing.assert_array_equal(outputs(twice.model, x), outputs(once.model, x))
    text = """
        <ir_version: 10, opset_import: ["" : 21]>
        g (float[2,4] x) => (float[2,3] y) {
            w = DequantizeLinear(q, scale)
            y = MatMul(x, w)
        }"""
    model = onnx.parser.parse_model(text)
    integers = np.random.default_rng(1).integers(-128, 128, (4, 3)).astype(np.int8)
    model.graph.initializer.append(onnx.numpy_helper.from_array(integers, "q"))
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.float32(0.01), "scale"))
    done = compression.run(model, "int4")
    assert len(done.report.notes) == 1
    assert "quantized already" in done.report.notes[0]
    x = np.ones((2, 4), np.float32)
    np.testing.assert_array_equal(outputs(done.model, x), outputs(model, x))


def test_recipes_smooth_what_integer_layers_read() -> None:
    model, feeds = block(), feeds_of()

    def error(smooth: bool) -> float:
        recipe = {"quantize": {"weights": "int8", "activations": 8, "method": "minmax", "smooth": smooth}}
        made = compression.run(model, recipe, calibration=feeds).model
        return max(relative_l2(outputs(made, feed["x"]), outputs(model, feed["x"])) for feed in feeds)

    assert error(True) < error(False) / 2
    with pytest.raises(UsageError, match=r"quantize\.smooth"):
        compression.run(model, {"quantize": {"weights": "int8", "smooth": True}})
