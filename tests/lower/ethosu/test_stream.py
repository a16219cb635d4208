"""Our command streams on the interpreter, against the integer reference. Tolerance 0: both are integer."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.lower.simulated import execute
from tilewright.errors import UnsupportedError
from tilewright.integer.network import Convolution, Network, run
from tilewright.lower.ethosu import Stream, compile_network
from tilewright.lower.ethosu.jobs import Transfer, read
from tilewright.lower.ethosu.memory import place

from .networks import Builder, joined, residual

pytest.importorskip("ethosu.vela", reason="no Vela: pip install 'tilewright[nna]'")

ACCELERATORS = ("ethos-u55-128", "ethos-u55-256", "ethos-u65-256", "ethos-u65-512")


def random_inputs(network: Network, seed: int = 1) -> list[NDArray[Any]]:
    random = np.random.default_rng(seed)
    found = []
    for index in network.inputs:
        info = np.iinfo(network.maps[index].dtype)
        found.append(random.integers(info.min, info.max + 1, network.maps[index].shape).astype(info.dtype))
    return found


def check(network: Network, accelerator: str) -> Stream:
    stream = compile_network(network, accelerator)
    inputs = random_inputs(network)
    for want, got in zip(run(network, inputs), execute(stream, network, inputs), strict=True):
        np.testing.assert_array_equal(got, want)
        assert np.unique(want).size > 5
    return stream


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16"])
@pytest.mark.parametrize("accelerator", ACCELERATORS)
def test_every_operation(accelerator: str, dtype: str) -> None:
    stream = check(residual(dtype), accelerator)
    assert sum(layer.weight_bytes + layer.scale_bytes for layer in stream.layers) == len(stream.weights)


@pytest.mark.parametrize(("dtype", "first"), [("uint8", 16), ("int8", 13), ("int16", 32), ("int16", 7)])
@pytest.mark.parametrize("accelerator", ["ethos-u55-128", "ethos-u65-512"])
def test_maps_that_are_slices_of_others_and_doubling(accelerator: str, dtype: str, first: int) -> None:
    check(joined(dtype, first), accelerator)


@pytest.mark.parametrize("depthwise", [False, True])
def test_layers_between_depths(depthwise: bool) -> None:
    """From 8 bits to 16 and back, as recipes ask for by layer."""
    b = Builder(9)
    x = b.map(7, 6, 20)
    deep = b.map(7, 6, 20, dtype="int16")
    y = b.conv(x, 20, 3, depthwise=depthwise, alike=deep)
    network = b.network([x], [y, b.conv(y, 20, 3, depthwise=depthwise, alike=x)])
    assert [network.maps[index].dtype for index in network.outputs] == ["int16", "uint8"]
    check(network, "ethos-u55-256")


def test_a_concatenation_takes_no_time() -> None:
    """Where its parts are made for it alone; the input is copied."""
    b = Builder(7)
    x = b.map(8, 8, 16)
    network = b.network([x], [b.conv(b.concat(b.conv(x, 32, 1, alike=x), b.conv(x, 8, 3, alike=x), x), 16, 1)])
    stream = check(network, "ethos-u55-128")
    assert [layer.layer for layer in stream.layers] == ["conv0", "conv1", "concat2", "conv3"]
    assert stream.workspaces[0] >= 8 * 8 * 64


@given(
    st.integers(1, 20), st.integers(1, 20), st.integers(1, 70), st.integers(1, 70), st.integers(1, 6),
    st.integers(1, 3), st.integers(1, 2), st.booleans(), st.sampled_from(ACCELERATORS), st.integers(0, 99),
    st.sampled_from(["uint8", "int16"]),
)  # fmt: skip
@settings(deadline=None, max_examples=40)
def test_convolutions(
    height: int, width: int, depth: int, channels: int, kernel: int, stride: int, dilation: int, depthwise: bool,
    accelerator: str, seed: int, dtype: str,
) -> None:  # fmt: skip
    """Shapes, and with them block sizes and weight traversals."""
    b = Builder(seed, dtype)
    x = b.map(height, width, depth)
    y = b.conv(x, depth if depthwise else channels, kernel, stride, dilation, depthwise)
    network = b.network([x], [y])
    inputs = random_inputs(network)
    (want,) = run(network, inputs)
    try:
        stream = compile_network(network, accelerator)
    except UnsupportedError:
        stream = None
    if stream is None:  # no block fits: wide kernels of wide numbers only
        assert dtype == "int16"
        assert dilation * (kernel - 1) >= 6
        return
    (got,) = execute(stream, network, inputs)
    np.testing.assert_array_equal(got, want)


def test_an_operation_that_no_block_fits_is_refused() -> None:
    """Results of two rows and columns, three apart, of a kernel of 9 x 9: 12 x 12 numbers of 16 bits of 32 channels."""
    b = Builder(0, "int16")
    x = b.map(1, 1, 13)
    network = b.network([x], [b.conv(x, 1, 5, 3, 2, False)])
    with pytest.raises(
        UnsupportedError, match=r"(?s)conv0.*does not fit into the accelerator's memory.*smaller kernel"
    ):
        compile_network(network, "ethos-u55-128")


@given(
    st.sampled_from(["ADD", "SUB", "MUL"]), st.sampled_from(["uint8", "int8", "int16"]), st.floats(0.001, 0.2),
    st.floats(0.001, 0.2), st.floats(0.003, 0.6), st.booleans(), st.none() | st.tuples(
        st.integers(0, 60), st.integers(61, 127)), st.integers(0, 99),
)  # fmt: skip
@settings(deadline=None, max_examples=60)
def test_two_operands(
    kind: str, dtype: str, a: float, b: float, out: float, alike: bool, clamp: tuple[int, int] | None, seed: int
) -> None:
    """Equal and unequal scales, which Vela writes in different ways."""
    found = Builder(seed, dtype)
    first, second = found.map(5, 6, 20, scale=a), found.map(5, 6, 20, scale=a if alike else b, zero=100)
    network = found.network([first, second], [found.binary(kind, first, second, out, clamp)])
    inputs = random_inputs(network, seed)
    (want,) = run(network, inputs)
    (got,) = execute(compile_network(network, "ethos-u55-128"), network, inputs)
    np.testing.assert_array_equal(got, want)


def test_weights_of_few_values_are_small() -> None:
    """The codec's point: 4-bit weights take less than 8-bit ones, and zeros next to nothing."""

    def bits(most: int, zeros: float) -> float:
        b = Builder(3)
        x = b.map(8, 8, 64)
        b.conv(x, 64, 3, most=most)
        layer = b.operations[0]
        assert isinstance(layer, Convolution)
        weights = np.where(b.random.random(layer.weights.shape) < zeros, 0, layer.weights)
        network = dataclasses.replace(b.network([x], [1]), operations=(dataclasses.replace(layer, weights=weights),))
        (code,) = compile_network(network, "ethos-u55-128").layers
        return 8 * code.weight_bytes / code.plain_bytes

    assert bits(127, 0) > 7.5  # near the entropy of uniform values, 7.99
    assert bits(7, 0) < 4.2  # 3.91
    assert bits(127, 0.9) < 1.4  # 1.27
    assert bits(7, 0.9) < 1.0  # 0.86


def test_maps_share_memory() -> None:
    b = Builder(4)
    x = y = b.map(16, 16, 16)
    for _ in range(6):
        y = b.conv(y, 16, 1)
    network = b.network([x], [y])
    check(network, "ethos-u55-128")
    assert place(network).scratch_bytes == 2 * 16 * 16 * 16  # of five maps two live at a time


def test_copies_of_weights() -> None:
    """They share memory with maps, and the result stays the same to the bit."""
    b = Builder(6)
    x = y = b.map(32, 32, 16)
    for kernel in (1, 3, 1, 3, 3, 1):
        y = b.conv(y, 48, kernel)
    network = b.network([x], [y])
    stream = check(network, "ethos-u55-128")
    copies = [job.nbytes for job in read(stream.payload) if isinstance(job, Transfer)]
    assert max(copies) > 10_000
    assert place(network).scratch_bytes <= stream.workspaces[0] <= max(place(network).scratch_bytes, 128 * 1024)


def test_too_many_outputs_are_refused() -> None:
    b = Builder(5)
    x = b.map(4, 4, 8)
    outputs = [b.conv(x, 8, 1) for _ in range(6)]
    with pytest.raises(UnsupportedError, match="cannot take"):
        compile_network(b.network([x], outputs), "ethos-u55-128")
