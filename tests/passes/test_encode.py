"""Encoded weights: onnxruntime, the reference decoders and the report agree about them, to the bit and to the byte."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest

from tests.passes.test_coupling import network, prepared
from tilewright.errors import DataError, ModelError
from tilewright.formats.packed import unpack
from tilewright.formats.registry import parse
from tilewright.passes.coring import Coring, Rule
from tilewright.passes.encode import Encode, Unpacking, is_unpack, unpackings
from tilewright.passes.weights import Weight, all_weights

FORMATS = [
    "f16",
    "int8",
    "int8(per=tensor,scale=f16)",
    "int3(per=tensor)",
    "int6(per=tensor,asymmetric)",
    "int4(group=32,asymmetric) entropy",
    "codebook(11)",
    "vbd(4.5)",
    "vbd(9,per=tensor)",
    "astc(6,6)",
    "astc(10,10)",
    "block_sparse(4,4) int4(group=16)",
    "block_sparse(1,2) f32",
    "two_four int5",
]


def model() -> ir.Model:
    """Dense, depthwise, transposed and shared weights, and a table."""
    rng = np.random.default_rng(3)

    def constant(name: str, *shape: int) -> onnx.TensorProto:
        return onnx.numpy_helper.from_array(rng.standard_normal(shape, np.float32), name)

    text = """
        <ir_version: 10, opset_import: ["" : 17]>
        g (float[1,5,6,6] x, int64[3] tokens) => (float[3,9] y, float[1,2,11,11] z) {
            a = Conv<pads=[1,1,1,1]>(x, dense)
            b = Conv<group=4>(a, depthwise)
            z = ConvTranspose<strides=[2,2]>(b, transposed)
            looked_up = Gather(table, tokens)
            c = MatMul(looked_up, shared)
            d = MatMul(c, shared)
            y = MatMul(d, wide)
        }"""
    proto = onnx.parser.parse_model(text)
    shapes = {"dense": (4, 5, 3, 3), "depthwise": (4, 1, 2, 2), "transposed": (4, 2, 3, 3)}
    shapes |= {"table": (20, 8), "shared": (8, 8), "wide": (8, 9)}
    proto.graph.initializer.extend(constant(name, *shape) for name, shape in shapes.items())
    return prepared(proto)


def weights_seen_by_onnxruntime(encoded: ir.Model) -> dict[str, np.ndarray]:
    """The output of every unpacking node."""
    probe = encoded.clone()
    nodes = [node for node in probe.graph if is_unpack(node)]
    probe.graph.outputs.extend(node.outputs[0] for node in nodes)
    proto = ir.to_proto(probe)
    onnx.checker.check_model(proto, full_check=True)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options)
    rng = np.random.default_rng(4)
    feeds = {
        value.name: rng.standard_normal(value.shape).astype(np.float32)
        if "float" in value.type
        else rng.integers(0, 20, value.shape)
        for value in session.get_inputs()
    }
    names = [str(node.outputs[0].name) for node in nodes]
    return dict(zip(names, session.run(names, feeds), strict=True))


@pytest.mark.parametrize("spec", FORMATS)
def test_onnxruntime_decodes_as_the_reference_does(spec: str) -> None:
    encoded, form = model(), parse(spec)
    if not form.layout.spec.startswith("dense"):
        Coring(lambda weight: Rule(density=0.5, layout=form.layout))(encoded)
    chosen = Encode(lambda weight: form if weight.prunable or form.layout.spec == "dense" else None)
    chosen(encoded)
    found = weights_seen_by_onnxruntime(encoded)
    assert len(found) == len(chosen.layers) == (6 if form.layout.spec == "dense" else 2)
    for node, unpacking in unpackings(encoded.graph):
        weight = found[str(node.outputs[0].name)]
        np.testing.assert_array_equal(unpacking.decode(node), weight)
    for layer, weight in zip(chosen.layers, found.values(), strict=True):
        decoded = unpack(layer.packed)
        assert np.count_nonzero(decoded) == np.count_nonzero(weight)
        assert np.sort(decoded, axis=None).tolist() == np.sort(weight, axis=None).tolist()  # rows are the matrix's
    arrays = {name: array for node, _ in unpackings(encoded.graph) for name, array in _arrays(node).items()}
    assert sum(array.nbytes for array in arrays.values()) == sum(
        layer.packed.expanded_nbytes for layer in chosen.layers
    )
    functions = [key for key in encoded.functions if key[0] == "tilewright"]
    # shared by weights of all shapes; DequantizeLinear of int8 has to know along which axis the rows lie
    assert len(functions) == (2 if spec.startswith("int8") else 1)


def _arrays(node: ir.Node) -> dict[str, np.ndarray]:
    return {f"{node.name}.{role}": array for role, array in Unpacking.of(node).arrays(node).items()}


def test_an_exact_format_changes_nothing() -> None:
    encoded = model()
    before = {weight.value.name: weight.value.const_value.numpy() for weight in all_weights(encoded.graph)}  # type: ignore[union-attr]
    Encode(lambda weight: parse("f32"))(encoded)
    for name, weight in weights_seen_by_onnxruntime(encoded).items():
        np.testing.assert_array_equal(weight, before[name], strict=True)


def test_a_weight_behind_a_flatten() -> None:
    encoded = prepared(network())
    before = {weight.layer: weight.value.const_value.numpy() for weight in all_weights(encoded.graph)}  # type: ignore[union-attr]
    Encode(lambda weight: parse("f32") if weight.layer == "fc" else None)(encoded)
    ((node, unpacking),) = unpackings(encoded.graph)
    assert unpacking.split[1] == 16  # positions of the flattened 4x4 image
    np.testing.assert_array_equal(unpacking.decode(node), before["fc"], strict=True)


def test_the_rule_chooses() -> None:
    encoded = model()
    seen: list[tuple[str, str]] = []

    def rule(weight: Weight) -> None:
        seen.append((weight.operator, str(weight.value.name)))

    assert not Encode(rule)(encoded).modified
    expected = {"Conv": ["dense", "depthwise"], "ConvTranspose": ["transposed"], "Gather": ["table"]}
    expected["MatMul"] = ["shared", "wide"]
    assert sorted(seen) == sorted((operator, name) for operator, names in expected.items() for name in names)


def test_every_weight_that_cannot_be_stored_is_named() -> None:
    broken = model()
    layers = []
    for weight in all_weights(broken.graph):
        if weight.operator == "Conv":
            matrix = weight.matrix.copy()
            matrix[0, 0] = np.nan
            weight.store(matrix)
            layers.append(weight.layer)
    with pytest.raises(DataError) as caught:
        Encode(lambda weight: parse("int8"))(broken)
    assert len(layers) == 2
    assert all(layer in str(caught.value) for layer in layers)


def test_an_old_operator_set_is_refused() -> None:
    old = model()
    old.opset_imports[""] = 12
    with pytest.raises(ModelError, match="opset 13"):
        Encode(lambda weight: parse("int8"))(old)


@pytest.mark.parametrize("name", ["format", "roles", "split", "shape", "perm"])
def test_damaged_attributes_are_named(name: str) -> None:
    encoded = model()
    Encode(lambda weight: parse("int8"))(encoded)
    node = next(node for node in encoded.graph if is_unpack(node))
    del node.attributes[name]
    with pytest.raises(DataError, match="damaged attributes"):
        Unpacking.of(node)
