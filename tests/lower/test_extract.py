"""Reading calls from Relax: aliases, tuples, and operators that must not be left."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tvm import relax

from tilewright.errors import UnsupportedError
from tilewright.lower.extract import extract_calls


def build(make: Any) -> Any:
    builder = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType((4, 6), "float32"))
    with builder.function("main", [x]):
        with builder.dataflow():
            out = builder.emit_output(make(builder, x))
        builder.emit_func_output(out)
    return relax.transform.LegalizeOps()(builder.get())


def test_tuple_results_are_values_of_one_step() -> None:
    def make(builder: Any, x: Any) -> Any:
        pieces = builder.emit(relax.op.split(x, 2, axis=1))
        return builder.emit(relax.op.add(pieces[0], pieces[1]))

    calls = extract_calls(build(make))
    split, add = calls.steps
    assert len(split.writes) == 2
    assert add.reads == split.writes
    assert calls.outputs == ((add.writes[0], (4, 3)),)


def test_a_constant_used_twice_is_one_value() -> None:
    constant = relax.const(np.ones((4, 6), "float32"))
    calls = extract_calls(build(lambda b, x: b.emit(relax.op.add(b.emit(relax.op.multiply(x, constant)), constant))))
    assert sum(value.data is not None for value in calls.values) == 1


@pytest.mark.parametrize(("dtype", "count"), [("float32", 1), ("int32", 2)])
def test_equal_constants_of_one_type_are_one_value(dtype: str, count: int) -> None:
    ones = [relax.const(np.ones((4, 6), kind)) for kind in ("float32", dtype)]

    def make(builder: Any, x: Any) -> Any:
        product = builder.emit(relax.op.multiply(x, ones[0]))
        return builder.emit(relax.op.add(product, builder.emit(relax.op.astype(ones[1], "float32"))))

    assert sum(value.data is not None for value in extract_calls(build(make)).values) == count


def test_reshape_shares_its_value() -> None:
    mod = build(lambda b, x: b.emit(relax.op.reshape(x, (24,))))
    calls = extract_calls(relax.transform.RewriteDataflowReshape()(mod))
    assert calls.steps == ()
    assert calls.outputs == ((calls.inputs[0], (24,)),)


def test_operators_without_a_kernel_are_refused_by_name() -> None:
    builder = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType((4, 6), "float32"))
    with builder.function("main", [x]):
        with builder.dataflow():
            out = builder.emit_output(relax.op.nn.relu(x))
        builder.emit_func_output(out)
    with pytest.raises(UnsupportedError, match=r"relax\.nn\.relu"):
        extract_calls(builder.get())
