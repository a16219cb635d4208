"""Half precision: which operators run in it, which stay in float32, and what both look like to a model's user."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tvm import relax, te

from tilewright.targets.schedules.gpu_half import to_half

SHAPE = (1, 4, 6, 6)
SUMS = "float16 to float32"  # products of halves, added up in float32
Make = Callable[[Any, Any], Any]  # (builder, x) -> result


def weights(*shape: int, scale: float = 0.1) -> Any:
    """A constant of normal float32 numbers."""
    return relax.const(np.random.default_rng(0).standard_normal(shape).astype("float32") * np.float32(scale))


def conv(builder: Any, x: Any, scale: float = 0.1) -> Any:
    return builder.emit(relax.op.nn.conv2d(x, weights(4, 4, 1, 1, scale=scale)))


def halved(make: Make) -> list[tuple[str, str]]:
    """Operator and type of each binding of a network, conversions left out; both types where they differ."""
    builder, x = relax.BlockBuilder(), relax.Var("x", relax.TensorType(SHAPE, "float32"))
    with builder.function("main", [x]):
        with builder.dataflow():
            result = builder.emit_output(make(builder, x))
        builder.emit_func_output(result)
    main = to_half(builder.get())["main"]
    relax.analysis.well_formed(main)  # raises
    assert main.params[0].ty == x.ty
    assert main.ret_ty == result.ty
    calls = [binding for binding in main.body.blocks[0].bindings if hasattr(binding.value, "op")]
    found = [(call.value.op.name.removeprefix("relax."), call.value.args, call.var.ty) for call in calls]
    return [(name, computed(args, ty)) for name, args, ty in found if name != "astype"]


def computed(args: Any, result: Any) -> str:
    """The type of a result, and before it that of the first operand where it has another one."""
    types = [str(getattr(ty, "dtype", "tuple")) for ty in (getattr(args[0], "ty", None), result)]
    return types[1] if "tuple" in types else " to ".join(dict.fromkeys(types))


def types(make: Make) -> dict[str, str]:
    """The type that each operator after a convolution computes in."""
    found = halved(lambda builder, x: builder.emit(make(builder, conv(builder, x))))
    assert found.pop(0) == ("nn.conv2d", SUMS)
    return dict(found)


@pytest.mark.parametrize(
    ("make", "wanted"),
    [
        (lambda b, x: relax.op.nn.relu(x), {"nn.relu": "float16"}),
        (lambda b, x: relax.op.clip(x, 0, 6), {"clip": "float16"}),
        (lambda b, x: relax.op.add(x, x), {"add": "float16"}),
        (lambda b, x: relax.op.multiply(x, relax.const(0.5)), {"multiply": "float16"}),
        (lambda b, x: relax.op.divide(x, relax.const(8.0)), {"divide": "float16"}),
        (lambda b, x: relax.op.concat([x, x], axis=1), {"concat": "float16"}),
        (lambda b, x: relax.op.nn.max_pool2d(x, (2, 2)), {"nn.max_pool2d": "float16"}),
        (lambda b, x: relax.op.exp(x), {"exp": "float32"}),
        (lambda b, x: relax.op.nn.softmax(x), {"nn.softmax": "float32"}),
        (lambda b, x: relax.op.sum(x, axis=1), {"sum": "float32"}),
        (lambda b, x: relax.op.multiply(x, x), {"multiply": "float32"}),
        (lambda b, x: relax.op.divide(relax.const(1.0), x), {"divide": "float32"}),
        (lambda b, x: relax.op.clip(x, -1e30, 1e30), {"clip": "float32"}),
        (lambda b, x: relax.op.add(x, relax.const(1e-12)), {"add": "float32"}),
        (lambda b, x: relax.op.add(x, relax.const(-1e9)), {"add": "float32"}),
        (lambda b, x: relax.op.add(x, relax.const(float("-inf"))), {"add": "float16"}),
    ],
)
def test_what_follows_a_product(make: Make, wanted: dict[str, str]) -> None:
    assert types(make) == wanted


def test_a_result_that_its_operands_bound_may_be_stored_in_half() -> None:
    def make(builder: Any, x: Any) -> Any:
        gate = builder.emit(relax.op.sigmoid(builder.emit(relax.op.mean(x, axis=[2, 3], keepdims=True))))
        return relax.op.multiply(x, gate)

    assert types(make) == {"mean": "float32", "sigmoid": "float32", "multiply": "float16"}


def test_an_unbounded_result_keeps_what_it_meets_in_float() -> None:
    def make(builder: Any, x: Any) -> Any:
        return relax.op.multiply(x, builder.emit(relax.op.exp(x)))

    assert types(make) == {"exp": "float32", "multiply": "float32"}


def test_parts_of_a_split_are_halves() -> None:
    def make(builder: Any, x: Any) -> Any:
        parts = builder.emit(relax.op.split(x, 2, 1))
        return relax.op.concat(parts, axis=1)

    assert types(make) == {"split": "tuple", "concat": "float16"}


def test_a_tir_kernel_gets_and_gives_float32() -> None:
    def make(builder: Any, x: Any) -> Any:
        def square(data: Any) -> Any:
            return te.compute(SHAPE, lambda *at: data(*at) * data(*at), name="square")

        return conv(builder, builder.emit_te(square, x))

    assert types(make) == {"call_tir": "float32", "nn.conv2d": SUMS}


def test_weights_beyond_half_leave_their_product_in_float() -> None:
    found = halved(lambda builder, x: conv(builder, conv(builder, x), scale=1e6))
    assert found == [("nn.conv2d", SUMS), ("nn.conv2d", "float32")]


def test_nothing_happens_without_a_product() -> None:
    assert halved(lambda builder, x: relax.op.add(x, relax.const(1.0))) == [("add", "float32")]


def test_a_value_is_converted_once() -> None:
    builder, x = relax.BlockBuilder(), relax.Var("x", relax.TensorType(SHAPE, "float32"))
    with builder.function("main", [x]):
        with builder.dataflow():
            result = builder.emit_output(relax.op.add(conv(builder, x), conv(builder, x)))
        builder.emit_func_output(result)
    bindings = to_half(builder.get())["main"].body.blocks[0].bindings
    casts = [b for b in bindings if getattr(getattr(b.value, "op", None), "name", "") == "relax.astype"]
    places = [str(cast.var.ty.dtype) for cast in casts]
    assert places == ["float16", "float16", "float16", "float32"]  # the input, both products' sums, the output
