"""Which layers of quantized graphs become integer operations, and that these compute what the graph does.

The graph computes in float between DequantizeLinear and QuantizeLinear, integers round by fixed-point factors: a value
may differ by one step of its scale at each quantization.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from numpy.typing import NDArray

from tilewright.errors import Problem, UnsupportedError
from tilewright.frontend.quantized import offload
from tilewright.integer.capabilities import Capabilities
from tilewright.integer.network import Binary, Convolution, Lookup, Network, Pooling, run
from tilewright.passes.execution import runner

from . import models
from .models import Qdq


@dataclass(frozen=True)
class Fake:
    """What a part's compiler would return."""

    payload: bytes = b"COP1"
    weights: bytes = bytes(16)
    workspaces: tuple[int, ...] = (0,)
    layers: tuple[Any, ...] = ()


def networks(model: ir.Model, capabilities: Capabilities | None = None) -> tuple[list[Network], dict[str, str]]:
    found: list[Network] = []

    def keep(network: Network) -> Fake:
        found.append(network)
        return Fake()

    return found, dict(offload(model, keep, capabilities).host)


def test_a_whole_network_is_one_part() -> None:
    (network,), host = networks(models.load(models.residual()))
    assert host == {}
    kinds = [type(operation).__name__ for operation in network.operations]
    assert kinds == ["Convolution"] * 3 + ["Binary", "Pooling", "View"] + ["Convolution"] * 2
    assert [network.maps[index].dtype for index in network.outputs] == ["int32"]
    first, depthwise = network.operations[:2]
    assert isinstance(first, Convolution)
    assert first.output.low == 128  # the Relu: its quantizer does not saturate at zero
    assert isinstance(depthwise, Convolution)
    assert depthwise.depthwise


def test_integers_compute_what_the_graph_does() -> None:
    model = models.load(models.residual())
    compute, ((network,), _) = runner(model), networks(model)
    random, steps = np.random.default_rng(3), []
    accumulators = network.operations[-1]
    assert isinstance(accumulators, Convolution)
    for _ in range(20):
        x = random.uniform(-2.5, 2.5, (1, 4, 12, 12)).astype(np.float32)
        (want,) = compute({"x": x}).values()
        integers = np.clip(np.rint(x / np.float32(0.02)) + 128, 0, 255)[0].transpose(1, 2, 0)
        (got,) = run(network, [integers])
        scales = want.reshape(-1) / np.where(got.reshape(-1) == 0, 1, got.reshape(-1))
        steps.append((got.reshape(-1), want.reshape(-1), scales))
    got, want = (np.stack([step[place] for step in steps]) for place in (0, 1))
    factor = (got * want).sum(0) / (got * got).sum(0)  # the layer's scales, which the graph applies in float
    error = np.linalg.norm(got * factor - want) / np.linalg.norm(want)
    assert error < 0.02  # a step of 0.02 over activations of about 1


def test_host_layers_cut_the_network() -> None:
    parts, host = networks(models.load(models.interrupted()))
    assert [len(part.operations) for part in parts] == [1, 2]
    assert list(host.values()) == ["its operator has no integer form"]
    mean = parts[1].operations[1]
    assert isinstance(mean, Convolution)  # of ones: the mean has a scale of its own
    assert mean.depthwise
    assert np.all(mean.weights == 1)


def test_the_graph_is_left_as_it_was() -> None:
    model = models.load(models.residual())
    before = ir.serde.serialize_model(model).SerializeToString(deterministic=True)
    made = offload(model, lambda network: Fake())
    assert ir.serde.serialize_model(model).SerializeToString(deterministic=True) == before
    kinds = [node.op_type for node in made.model.graph]
    assert kinds == ["QuantizeLinear", "Transpose", "Stream", "Reshape", "DequantizeLinear"]


def test_a_part_that_does_not_fit_stays() -> None:
    def refuse(network: Network) -> Fake:
        raise UnsupportedError("no", [Problem("", "too many inputs")])

    model = models.load(models.residual())
    made = offload(model, refuse)
    assert [node.op_type for node in made.model.graph] == [node.op_type for node in model.graph]
    assert set(made.host.values()) == {"its part of the network does not fit: too many inputs"}


def alone(q: Qdq, value: str, *shape: int, quantized: bool = True) -> tuple[list[Network], dict[str, str]]:
    value = q.quantize(value, 0.02) if quantized else value
    return networks(models.load(q.build({value: shape})))


@pytest.mark.parametrize(
    ("attributes", "shape", "reason"),
    [
        ({"group": 2}, (1, 8, 8, 8), "its 2 groups are neither 1 nor as many as channels"),
        ({"strides": [4, 4]}, (1, 8, 2, 2), "is too large"),
        ({"dilations": [3, 3]}, (1, 8, 4, 4), "is too large"),
    ],
)
def test_convolutions_that_do_not_fit(attributes: dict[str, Any], shape: tuple[int, ...], reason: str) -> None:
    q = Qdq()
    parts, host = alone(q, q.conv(q.quantize(q.input(1, 8, 8, 8), 0.02), 8, 8, **attributes), *shape)
    assert parts == []
    assert reason in next(iter(host.values()))


def test_operands_that_do_not_fit() -> None:
    q = Qdq()
    _, host = alone(q, q.conv(q.input(1, 4, 6, 6), 4, 4), 1, 4, 6, 6)
    assert list(host.values()) == ["its activations are not quantized"]
    q = Qdq()
    x = q.quantize(q.input(1, 4, 6, 6), 0.03)
    _, host = alone(q, q.node("MaxPool", x, kernel_shape=[2, 2]), 1, 4, 5, 5)
    assert list(host.values()) == ["its result is quantized differently"]
    q = Qdq()
    x = q.quantize(q.input(1, 4, 1, 1), 0.02)
    _, host = alone(
        q, q.node("Add", x, q.quantize(q.node("Expand", x, q.constant([1, 4, 3, 3], "int64")), 0.02)), 1, 4, 3, 3
    )
    assert "its operands broadcast" in host.values()


def test_a_flattening_for_somebody_else_stays() -> None:
    q = Qdq()
    x = q.quantize(q.input(1, 4, 6, 6), 0.02)
    parts, host = alone(q, q.node("Flatten", x), 1, 144)
    assert parts == []
    assert list(host.values()) == ["its elements move for a layer other than a fully connected one"]


def test_means_with_padding_keep_their_scale() -> None:
    q = Qdq()
    x = q.quantize(q.input(1, 4, 6, 6), 0.02)
    (network,), _ = alone(q, q.node("AveragePool", x, kernel_shape=[3, 3], pads=[1] * 4), 1, 4, 6, 6)
    (mean,) = network.operations
    assert isinstance(mean, Pooling)
    assert mean.window.pads == (1, 1, 1, 1)


def test_weights_are_those_that_are_stored() -> None:
    """Channels with tiny weights give way to their bias; all others keep their integers."""
    q = Qdq()
    x = q.quantize(q.input(1, 4, 6, 6), 0.02)
    weight = q.weight(3, 4, 1, 1)
    stored = q.constants[q.nodes[-1].input[0]].astype(np.int64)
    scales = q.constants[q.nodes[-1].input[1]]
    scales[1] = 1e-12
    y = q.node("Conv", x, weight, q.constant([0.1, 0.5, -0.2], "float32"))
    (network,), _ = alone(q, y, 1, 3, 6, 6)
    (layer,) = network.operations
    assert isinstance(layer, Convolution)
    np.testing.assert_array_equal(layer.weights[0, 0, 0], stored[0, :, 0, 0])
    assert np.abs(layer.bias).max() <= 2**30
    outputs: NDArray[Any] = run(network, [np.full((6, 6, 4), 128, np.uint8)])[0]
    np.testing.assert_array_equal(outputs[0, 0].astype(int) - 128, np.rint(np.array([0.1, 0.5, -0.2]) / 0.02))


def test_a_shared_flattening_stays_if_one_reader_does() -> None:
    """Fully connected layers behind a flattening take its elements in another order: all of them or none."""
    q = Qdq()
    x = q.quantize(q.input(1, 4, 6, 6), 0.02)
    flat = q.quantize(q.node("Flatten", x), 0.02)
    good = q.node("Gemm", flat, q.weight(5, 144), transB=1)
    bad = q.node("Gemm", flat, q.weight(5, 144), transB=1, alpha=0.5)
    parts, host = networks(models.load(q.build({good: (1, 5), bad: (1, 5)})))
    assert parts == []
    assert len(host) == 3


@pytest.mark.parametrize("bits", [4, 6, 8])
def test_other_depths_and_clamps(bits: int) -> None:
    """Quantizers of fewer bits, as the passes write them: clamps on the way do not keep layers apart."""
    model = models.load(models.fake_quantized(bits))
    (network,), host = networks(model)
    assert host == {}
    assert [type(operation).__name__ for operation in network.operations] == [
        "Convolution", "Pooling", "View", "Convolution"
    ]  # fmt: skip
    x = np.random.default_rng(5).uniform(-1, 1, (1, 4, 8, 8)).astype(np.float32)
    (want,) = runner(model)({"x": x}).values()
    first, scale = network.maps[network.inputs[0]].affine, 2 / (2**bits - 1)
    low = first.zero - 2 ** (bits - 1)
    integers = np.clip(np.rint(x / np.float32(scale)) + first.zero, low, low + 2**bits - 1)[0].transpose(1, 2, 0)
    (got,) = run(network, [integers])
    factor = (got * want.reshape(got.shape)).sum() / (got.astype(float) ** 2).sum()
    # A value that is rounded the other way moves the result by a step of one of 64 inputs.
    assert np.linalg.norm(got * factor - want.reshape(got.shape)) / np.linalg.norm(want) < 0.2 / 2 ** (bits - 4)


def test_functions_become_tables() -> None:
    """A table holds what the function's quantized result would be, for every input."""
    q = Qdq()
    x = q.quantize(q.input(1, 4, 6, 6), 0.05)
    y = q.quantize(q.node("HardSigmoid", x, alpha=0.3, beta=0.4), 1 / 128)
    parts, host = alone(q, q.node("Mul", x, y), 1, 4, 6, 6)
    assert host == {}
    table, product = parts[0].operations
    assert isinstance(table, Lookup)
    real = np.clip(0.3 * (np.arange(256) - 128) * np.float32(0.05) + 0.4, 0, 1)
    assert np.abs(table.table.astype(int) - np.clip(np.rint(real * 128) + 128, 0, 255)).max() == 0
    assert isinstance(product, Binary)
    assert product.kind == "MUL"


@pytest.mark.parametrize("bits", [12, 16])
def test_depths_that_an_accelerator_lacks(bits: int) -> None:
    """Quantizers in either form stay on the host, with the reason; another accelerator takes them."""
    model = models.load(models.fake_quantized(bits))
    parts, host = networks(model)
    assert parts == []
    assert f"its activations have {bits} bits, which the accelerator does not compute with" in host.values()
    deep = Capabilities(depths=(4, 8, 16), mixed=True, accumulator_bits=48, weight_depths=(4, 8, 16))
    taken, host = networks(model, deep)
    assert host == {}
    assert {source.affine.bits for source in taken[0].maps} == {16, 32}


DEEP = Capabilities(
    depths=(8, 16), symmetric=(16,), deep_accumulator_bits=40, reduced=True, table_depth=16, slope_bits=16
)
"""Of an accelerator whose 16-bit integers have no zero points, nor its scales of their sums more than 16 bits."""


@pytest.mark.parametrize("bits", [12, 16])
def test_deep_integers_without_zero_points(bits: int) -> None:
    """Against the graph: 64 inputs of the last layer are off by a step each at most, and its sums lose low bits."""
    model = models.load(models.fake_quantized(bits))
    (network,), host = networks(model, DEEP)
    assert host == {}
    assert {(source.dtype, source.affine.zero) for source in network.maps} == {("int16", 0), ("int32", 0)}
    first = network.operations[0]
    assert isinstance(first, Convolution)
    assert first.output.factor.max() < 2**15
    x = np.random.default_rng(5).uniform(-1, 1, (1, 4, 8, 8)).astype(np.float32)
    step, half = np.float32(2 / (2**bits - 1)), 2 ** (bits - 1)
    integers = np.clip(np.rint(x / step), -half, half - 1)[0].transpose(1, 2, 0)
    (got,) = run(network, [integers])
    (want,) = runner(model)({"x": x}).values()
    scale = float(step) * 0.01  # of the last layer's input and weights
    assert abs(got.item() * scale - want.item()) <= 64 * 7 * scale


def sixteen(q: Qdq, value: str, scale: float, dtype: str = "int16", zero: int = 0) -> str:
    pair = (q.constant(scale, "float32"), q.constant(zero, dtype))
    return q.node("DequantizeLinear", q.node("QuantizeLinear", value, *pair), *pair)


def reasons(q: Qdq, value: str, *shape: int) -> list[str]:
    proto = q.build({sixteen(q, value, 2.0**-12): shape}, check=False)
    proto.opset_import[0].version = 21  # the first with these types
    return list(networks(models.load(proto), DEEP)[1].values())


def test_deep_integers_that_do_not_fit() -> None:
    q = Qdq()
    x = sixteen(q, q.input(1, 4, 6, 6), 2.0**-12, "uint16", 2**15)
    assert reasons(q, q.conv(x, 4, 4), 1, 4, 6, 6) == [
        "its activations of 16 bits have a zero point or no sign, which the accelerator does not compute with"
    ]
    q = Qdq()
    x = sixteen(q, q.input(1, 4, 6, 6), 2.0**-12)
    step = q.node("Clip", q.node("Mul", x, q.constant(1e6, "float32")), q.constant(-8, "float32"),
                  q.constant(8, "float32"))  # fmt: skip
    found = reasons(q, q.node("Neg", step), 1, 4, 6, 6)
    assert any("function with steps has differences of more than 16 bits" in reason for reason in found)
    q = Qdq()
    x = sixteen(q, q.input(1, 3 * 2**17, 1, 1), 2.0**-12)
    found = reasons(q, q.node("Conv", x, q.weight(1, 3 * 2**17, 1, 1)), 1, 1, 1, 1)
    assert found == ["its sums may have more than 40 bits"]


def test_smooth_functions_of_deep_integers_become_tables() -> None:
    q = Qdq()
    x = sixteen(q, q.input(1, 4, 6, 6), 2.0**-12)
    assert reasons(q, q.node("Tanh", x), 1, 4, 6, 6) == []
