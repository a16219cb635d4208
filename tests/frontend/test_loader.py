"""Reading models: what is wrong with a file is said in one clear error, whatever the bytes."""

from __future__ import annotations

import contextlib
import random
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import helper, numpy_helper

from tilewright.errors import ModelError, TilewrightError, UnsupportedError, UsageError
from tilewright.frontend import load


def _parse(body: str, opset: int = 21, domain: str = "") -> onnx.ModelProto:
    return onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["{domain}" : {opset}]> {body}')


RELU = "g (float[2, 3] x) => (float[2, 3] y) { [act] y = Relu(x) }"
NET = """g (float[N, 3, 8, 8] x) => (float[N, M] y) <float[4, 3, 3, 3] w, int64[1] rest = {-1}> {
    a = Conv<pads = [1, 1, 1, 1]>(x, w)
    b = Relu(a)
    shape = Shape<start = 0, end = 1>(b)
    target = Concat<axis = 0>(shape, rest)
    y = Reshape(b, target)
}"""


def _net() -> onnx.ModelProto:
    model = _parse(NET)
    weight = np.random.default_rng(0).standard_normal((4, 3, 3, 3)).astype(np.float32)
    del model.graph.initializer[:]
    model.graph.initializer.append(numpy_helper.from_array(weight, "w"))
    model.graph.initializer.append(numpy_helper.from_array(np.array([-1]), "rest"))
    return model


@pytest.mark.parametrize("opset", [7, 13, 26])
def test_opsets_in_range_load(opset: int) -> None:
    assert len(load(_parse(RELU, opset)).graph) == 1


@pytest.mark.parametrize("opset", [6, 27, 1000])
def test_other_opsets_are_refused(opset: int) -> None:
    with pytest.raises(ModelError, match=str(opset)):
        load(_parse(RELU, opset))


def test_paths_and_models_in_memory_are_alike(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    onnx.save(_net(), path)
    shapes = {"x": (1, 3, 8, 8)}
    texts = [
        onnx.printer.to_text(ir.to_proto(load(model, shapes))) for model in (path, str(path), _net(), ir.load(path))
    ]
    assert len(set(texts)) == 1


def test_models_in_memory_are_left_unchanged() -> None:
    proto, graph = _net(), ir.from_proto(_net())
    before = proto.SerializeToString()
    load(proto, {"x": (1, 3, 8, 8)})
    load(graph, {"x": (1, 3, 8, 8)})
    assert proto.SerializeToString() == before
    assert len(graph.graph) == 5


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no such file: .*gone\.onnx"):
        load(tmp_path / "gone.onnx")


@pytest.mark.parametrize("data", [b"", b"not a model", b"\x08\x0a" * 50, bytes(100)])
def test_files_that_are_no_models(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "bad.onnx"
    path.write_bytes(data)
    with pytest.raises(ModelError, match=r"empty|not an ONNX model|no graph"):
        load(path)


def test_a_truncated_file(tmp_path: Path) -> None:
    path = tmp_path / "cut.onnx"
    path.write_bytes(_net().SerializeToString()[:-100])
    with pytest.raises(ModelError):
        load(path, {"x": (1, 3, 8, 8)})


def test_missing_external_data(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    onnx.save_model(_net(), path, save_as_external_data=True, location="net.bin", size_threshold=0)
    assert len(load(path, {"x": (1, 3, 8, 8)}).graph) == 3
    (tmp_path / "net.bin").unlink()
    with pytest.raises(UnsupportedError, match=r"w: its data file 'net\.bin' is missing"):
        load(path, {"x": (1, 3, 8, 8)})


@pytest.mark.parametrize("location", ["../secret", "/etc/passwd"])
def test_external_data_cannot_leave_the_folder(tmp_path: Path, location: str) -> None:
    model = _net()
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    path = tmp_path / "net.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(UnsupportedError, match="leaves the model's folder"):
        load(path, {"x": (1, 3, 8, 8)})


def test_weights_of_the_wrong_size() -> None:
    model = _net()
    model.graph.initializer[0].raw_data = b"1234"
    with pytest.raises(UnsupportedError, match=r"w: 4 bytes of data where shape \[4, 3, 3, 3\] needs 432"):
        load(model, {"x": (1, 3, 8, 8)})


def test_a_cycle_is_refused() -> None:
    nodes = [helper.make_node("Add", ["x", "b"], ["a"]), helper.make_node("Relu", ["a"], ["b"])]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(nodes, "g", [value("x", 1, [2])], [value("b", 1, [2])])
    with pytest.raises(ModelError, match="invalid"):
        load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)]))


def test_an_undefined_value_is_named() -> None:
    with pytest.raises(ModelError, match="nowhere"):
        load(_parse("g (float[2] x) => (float[2] y) { y = Add(x, nowhere) }"))


def test_a_model_of_another_domain_only() -> None:
    with pytest.raises(ModelError, match=r"imports no standard ONNX operator set \(it imports 'mine'\)"):
        load(_parse("g (float[2] x) => (float[2] y) { y = mine.Twice(x) }", domain="mine"))


def test_open_dimensions_and_wrong_shapes() -> None:
    with pytest.raises(UsageError, match=r"input 'x' \(Nx3x8x8\) has open dimensions 'N'.*--shape x=1x3x8x8"):
        load(_net())
    with pytest.raises(UsageError, match="no input is called 'z'"):
        load(_net(), {"z": (1,)})


def test_everything_unsupported_is_listed_at_once() -> None:
    model = _parse(
        """g (float[4, 4] x, bfloat16[2] z) => (float y, float[M] k, float[4, 4] u, bfloat16[2] v) {
            [first] y = Det(x)
            [second] k, i, j, c = Unique(x)
            [third] u = mine.Special(x)
            [fourth] v = Relu(z)
        }"""
    )
    model.opset_import.append(helper.make_opsetid("mine", 1))
    with pytest.raises(UnsupportedError) as caught:
        load(model)
    text = str(caught.value)
    for part in (
        "first: Det",
        "second: Unique",
        "third: mine.Special",
        "input 'z': its type has element type BFLOAT16",
    ):
        assert part in text
    assert all(problem.remedy for problem in caught.value.problems)


def test_shapes_that_depend_on_data_are_named() -> None:
    model = _parse("g (float[4] x, bool[4] c) => (float[M] y) { [pick] k = Compress<axis = 0>(x, c) y = Relu(k) }")
    with pytest.raises(UnsupportedError, match=r"pick: the shape of Compress's output 'k' depends on data"):
        load(model)


def test_control_flow_names_the_way_out() -> None:
    value = helper.make_tensor_value_info
    branch = helper.make_graph([helper.make_node("Abs", ["x"], ["p"])], "b", [], [value("p", 1, [2])])
    node = helper.make_node("If", ["c"], ["y"], name="choose", then_branch=branch, else_branch=branch)
    graph = helper.make_graph([node], "g", [value("x", 1, [2]), value("c", 9, [])], [value("y", 1, [2])])
    with pytest.raises(UnsupportedError, match=r"choose: If is not supported .*fix its condition"):
        load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)]))


def test_damaged_bytes_raise_nothing_but_our_errors() -> None:
    """Mutations of a small model: flipped bytes, cuts, insertions. Seeded, so a failure can be run again."""
    original = _net().SerializeToString()
    rng = random.Random(7)
    loaded = 0
    for _ in range(400):
        data = bytearray(original)
        for _ in range(rng.randint(1, 4)):
            position = rng.randrange(len(data))
            kind = rng.random()
            if kind < 0.7:
                data[position] = rng.randrange(256)
            elif kind < 0.85:
                del data[position : position + rng.randint(1, 8)]
            else:
                data[position:position] = rng.randbytes(rng.randint(1, 8))
        try:
            proto = onnx.ModelProto.FromString(bytes(data))
        except Exception:  # what load() reports as damaged for a file; here only parsed bytes are of interest
            continue
        with warnings.catch_warnings(), contextlib.suppress(TilewrightError):
            warnings.simplefilter("ignore")
            load(proto, {"x": (1, 3, 8, 8)})
            loaded += 1
    assert loaded  # a flipped weight is still a model
