"""Weights computed from packed parameters: split off, packed at load, and worth as much as constants."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from tvm import relax, te

from tests.targets.gpu import needs_opencl
from tilewright.artifact import Artifact
from tilewright.lower.layers import binding_hint
from tilewright.lower.pipeline import lower
from tilewright.lower.prologue import split
from tilewright.plan import BufferKind, PackedParameter, Plan
from tilewright.runtime import Session
from tilewright.targets import resolve
from tilewright.targets.base import Target
from tilewright.targets.static import NUM_INPUT

Make = Callable[[Any, Any, list[Any]], Any]  # (builder, x, weights) -> result


@dataclass(frozen=True)
class Network:
    """One layer or a few, with int8 weights and a scale for each output channel (axis 0)."""

    make: Make
    input: tuple[int, ...]
    weights: tuple[tuple[int, ...], ...]

    def arrays(self) -> list[tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]]:
        rng = np.random.default_rng(0)
        return [
            (
                rng.integers(-127, 128, shape).astype(np.int8),
                rng.uniform(0.001, 0.01, (shape[0],) + (1,) * (len(shape) - 1)).astype(np.float32),
            )
            for shape in self.weights
        ]

    def lowered(self, target: str, packed: bool, precision: str = "fp32") -> Plan:
        """The network with packed parameters, or with the same weights as constants."""
        builder = relax.BlockBuilder()
        x = relax.Var("x", relax.TensorType(self.input, "float32"))
        arrays = self.arrays()
        parameters = [
            PackedParameter(f"w{index}.{part}", array, "entropy" if part == "q" else "raw")
            for index, pair in enumerate(arrays)
            for part, array in zip(("q", "scale"), pair, strict=True)
        ]
        variables = [relax.Var(p.name, relax.TensorType(p.array.shape, str(p.array.dtype))) for p in parameters]
        with builder.function("main", [x, *(variables if packed else ())], attrs={NUM_INPUT: 1} if packed else None):
            with builder.dataflow():
                if packed:
                    pairs = zip(variables[::2], variables[1::2], strict=True)
                    weights = [builder.emit_te(decode, q, s, primfunc_name_hint="decode") for q, s in pairs]
                else:
                    weights = [relax.const(q * s) for q, s in arrays]
                result = builder.emit_output(self.make(builder, x, weights))
            builder.emit_func_output(result)
        return lower(builder.get(), resolve(target, precision), ["x"], ["y"], packed=parameters if packed else ())


def decode(q: Any, scale: Any) -> Any:
    """int8 * scale, with the scale broadcast along all axes but the first."""
    zeros = [0] * (len(q.shape) - 1)
    return te.compute(q.shape, lambda *at: q(*at).astype("float32") * scale(at[0], *zeros), name="decode")


def conv(**attributes: Any) -> Make:
    def make(builder: Any, x: Any, weights: list[Any]) -> Any:
        y = builder.emit(relax.op.nn.conv2d(x, weights[0], **attributes), name_hint=binding_hint("conv"))
        return builder.emit(relax.op.nn.relu(y))

    return make


def dense(builder: Any, x: Any, weights: list[Any]) -> Any:
    transposed = builder.emit(relax.op.permute_dims(weights[0]))
    return builder.emit(relax.op.matmul(x, transposed), name_hint=binding_hint("dense"))


def chain(builder: Any, x: Any, weights: list[Any]) -> Any:
    y = builder.emit(relax.op.nn.relu(relax.op.nn.conv2d(x, weights[0], strides=2, padding=1)))
    y = builder.emit(relax.op.nn.conv2d(y, weights[1], padding=1, groups=24))
    y = builder.emit(relax.op.nn.relu(relax.op.nn.conv2d(y, weights[2])))
    y = builder.emit(relax.op.reshape(y, (1, 13 * 6 * 6)))
    return dense(builder, y, weights[3:])


NETWORKS = {
    "conv": Network(conv(padding=1), (1, 5, 9, 9), ((19, 5, 3, 3),)),
    "pointwise": Network(conv(), (1, 16, 6, 6), ((32, 16, 1, 1),)),
    "grouped": Network(conv(groups=2, strides=2), (1, 6, 9, 9), ((10, 3, 3, 3),)),
    "depthwise": Network(conv(groups=24, padding=1), (1, 24, 7, 7), ((24, 1, 3, 3),)),
    "dense": Network(dense, (3, 40), ((21, 40),)),
    "chain": Network(chain, (1, 3, 12, 12), ((24, 3, 3, 3), (24, 1, 3, 3), (13, 24, 1, 1), (10, 468))),
}


PRODUCTS = ("dense", "chain")


def result_of(plan: Plan, x: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
    with Session(Artifact(plan).to_bytes(), cache_dir="") as session:
        return np.array(session.run({"x": x})["y"])


@pytest.mark.parametrize("target", ["cpu", "mali"])
@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_packed_weights_give_the_results_of_constants(name: str, target: str) -> None:
    """Bit for bit: the decoder's one product is rounded once on either side, and packing only moves numbers. But GPUs
    have a kernel of their own for products by constants, which adds in another order: 1e-6 of relative L2 there, some
    units in the last place of float32 sums of 468 terms."""
    if target != "cpu":
        needs_opencl()
    network = NETWORKS[name]
    x = np.random.default_rng(1).standard_normal(network.input).astype(np.float32)
    got, want = (result_of(network.lowered(target, packed), x) for packed in (True, False))
    if target == "cpu" or name not in PRODUCTS:
        np.testing.assert_array_equal(got, want)
    else:
        assert np.linalg.norm(got - want) <= 1e-6 * np.linalg.norm(want)


@pytest.mark.parametrize(("target", "precision"), [("cpu", "fp32"), ("mali", "fp32"), ("mali", "fp16")])
@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_only_the_packed_arrays_are_stored_and_runs_are_the_same(name: str, target: str, precision: str) -> None:
    network = NETWORKS[name]
    known, packed = (network.lowered(target, packed, precision) for packed in (False, True))
    if target == "cpu" or name not in PRODUCTS:
        assert [launch.kernel for launch in packed.launches] == [launch.kernel for launch in known.launches]
    assert len(packed.prologue) >= len(network.weights)
    want = {f"w{index}.{part}" for index in range(len(network.weights)) for part in ("q", "scale")}
    assert {buffer.name for buffer in packed.constants()} == want
    assert {buffer.storage for buffer in packed.constants() if buffer.dtype == "int8"} == {"entropy"}
    assert known.prologue == ()


def split_of(make: Callable[[Any, Any, Any, Any], Any]) -> tuple[Any, Any]:
    """Both parts of a network of an input x [4], a packed q int8 [4] and scale [4]."""
    builder = relax.BlockBuilder()
    dtypes = {"x": "float32", "q": "int8", "scale": "float32"}
    x, q, scale = (relax.Var(name, relax.TensorType((4,), dtype)) for name, dtype in dtypes.items())
    with builder.function("main", [x, q, scale], attrs={NUM_INPUT: 1}):
        with builder.dataflow():
            result = builder.emit_output(make(builder, x, q, scale))
        builder.emit_func_output(result)
    parts = split(relax.transform.CanonicalizeBindings()(builder.get()))
    return parts.inference["main"], parts.prologue["main"]


def operators(function: Any) -> list[str]:
    return [
        binding.value.op.name.removeprefix("relax.")
        for block in function.body.blocks
        for binding in block.bindings
        if hasattr(binding.value, "op")
    ]


def test_what_depends_on_an_input_stays() -> None:
    def make(builder: Any, x: Any, q: Any, scale: Any) -> Any:
        weight = builder.emit(relax.op.multiply(relax.op.astype(q, "float32"), scale))
        return builder.emit(relax.op.add(relax.op.exp(x), relax.op.negative(weight)))

    inference, prologue = split_of(make)
    assert operators(prologue) == ["astype", "multiply", "negative"]
    assert operators(inference) == ["exp", "add"]
    assert len(inference.params) == 2
    assert NUM_INPUT not in (inference.attrs or {})


def test_a_packed_array_that_a_run_reads_is_handed_over_as_it_is() -> None:
    inference, prologue = split_of(lambda builder, x, q, scale: builder.emit(relax.op.multiply(x, scale)))
    assert operators(prologue) == []
    assert operators(inference) == ["multiply"]


def test_constants_alone_are_not_moved() -> None:
    """FoldConstant computes them; nor do they keep what is packed from moving."""

    def make(builder: Any, x: Any, q: Any, scale: Any) -> Any:
        folded = builder.emit(relax.op.exp(relax.const(np.ones(4, np.float32))))
        weight = builder.emit(relax.op.multiply(scale, folded))
        return builder.emit(relax.op.add(relax.op.multiply(x, folded), weight))

    inference, prologue = split_of(make)
    assert operators(inference) == ["exp", "multiply", "add"]
    assert operators(prologue) == ["exp", "multiply"]


def test_an_output_that_is_known_at_load_is_copied(toy_target: Target) -> None:
    builder = relax.BlockBuilder()
    x, q = (relax.Var(name, relax.TensorType((4,), "float32")) for name in "xq")
    with builder.function("main", [x, q], attrs={NUM_INPUT: 1}):
        with builder.dataflow():
            doubled = builder.emit(relax.op.add(q, q))
            result = builder.emit_output(relax.Tuple([doubled, q, builder.emit(relax.op.exp(x))]))
        builder.emit_func_output(result)
    packed = [PackedParameter("w", np.ones(4, np.float32))]
    plan = lower(builder.get(), toy_target, ["x"], ["doubled", "same", "y"], packed=packed)
    assert [buffer.kind.name for buffer in plan.buffers] == [
        "CONSTANT", "STATIC", "INPUT", "OUTPUT", "OUTPUT", "OUTPUT",
    ]  # fmt: skip
    assert [launch.kernel for launch in plan.prologue] == ["load_add"]
    assert [launch.kernel for launch in plan.launches[1:]] == ["copy", "copy"]
    Artifact(plan).to_bytes()


def test_temporaries_of_the_prologue_share_memory(toy_target: Target) -> None:
    """A chain of products, which do not fuse: each reads what the one before it wrote."""
    builder = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType((), "float32"))
    q = relax.Var("q", relax.TensorType((64, 64, 64), "float32"))
    with builder.function("main", [x, q], attrs={NUM_INPUT: 1}):
        with builder.dataflow():
            value: Any = q
            for _ in range(3):
                value = builder.emit(relax.op.matmul(value, value))
            value = builder.emit(relax.op.sum(value))
            result = builder.emit_output(relax.op.add(x, value))
        builder.emit_func_output(result)
    packed = [PackedParameter("w", np.ones((64, 64, 64), np.float32))]
    plan = lower(builder.get(), toy_target, ["x"], ["y"], packed=packed)
    temporaries = [buffer for buffer in plan.buffers if buffer.kind is BufferKind.TEMPORARY]
    assert len(temporaries) == 3
    assert plan.temporary_bytes == 2 * temporaries[0].nbytes
    assert plan.static_bytes == 256
    assert plan.arena_bytes == 0
