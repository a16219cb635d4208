"""Which values are known at load."""

from __future__ import annotations

from typing import Any

import numpy as np
from tvm import relax

from tilewright.targets.static import NUM_INPUT, StaticValues, packed_parameters


def network(num_input: int | None) -> tuple[Any, dict[str, Any]]:
    """y = (x + w * 2) * exp(3); the function and its variables by name."""
    builder = relax.BlockBuilder()
    x, w = (relax.Var(name, relax.TensorType((4,), "float32")) for name in "xw")
    found = {"x": x, "w": w}
    attributes = None if num_input is None else {NUM_INPUT: num_input}
    with builder.function("main", [x, w], attrs=attributes):
        with builder.dataflow():
            found["doubled"] = builder.emit(relax.op.multiply(w, relax.const(np.float32(2))))
            found["exp"] = builder.emit(relax.op.exp(relax.const(np.float32(3))))
            found["sum"] = builder.emit(relax.op.add(x, found["doubled"]))
            result = builder.emit_output(relax.op.multiply(found["sum"], found["exp"]))
        builder.emit_func_output(result)
    return builder.get()["main"], found


def test_static_is_what_depends_on_packed_parameters_and_constants_alone() -> None:
    function, found = network(1)
    values = StaticValues(function)
    assert [name for name, var in found.items() if values.holds(var)] == ["w", "doubled"]
    assert [name for name, var in found.items() if var in values.known] == ["w", "doubled", "exp"]
    constant = relax.const(np.zeros(2))
    assert values.fixed(constant)
    assert not values.holds(constant)
    assert values.fixed(found["doubled"])
    assert not values.fixed(found["sum"])


def test_without_the_attribute_every_parameter_is_an_input() -> None:
    for num_input in (None, 2):
        function, found = network(num_input)
        assert packed_parameters(function) == []
        assert not any(StaticValues(function).holds(var) for var in found.values())
