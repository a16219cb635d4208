"""Unpacking as kernels of the prologue: every format that decodes to what its reference decoder says, to the bit."""

from __future__ import annotations

import numpy as np
import pytest
from tvm import relax

from tests.passes.test_encode import FORMATS
from tilewright.artifact import Artifact
from tilewright.formats.packed import expand, pack, unpack
from tilewright.formats.registry import parse
from tilewright.lower.pipeline import lower
from tilewright.lower.tvm_setup import fast_tvmscript
from tilewright.lower.unpack import expand_unpacking
from tilewright.plan import PackedParameter
from tilewright.runtime import Session
from tilewright.targets import resolve
from tilewright.targets.packed_weights import Unpack
from tilewright.targets.static import NUM_INPUT

FORMS = [
    *(spec for spec in FORMATS if "entropy" not in spec),
    "int2",
    "int3",
    "int5(group=32)",
    "block_sparse(8,2) int6",
]


def module(spec: str, transposed: bool) -> tuple[object, list[PackedParameter], np.ndarray]:
    """x times a weight of 12 rows and 2 taps of 24 columns, its parameters, and the weight."""
    matrix = np.random.default_rng(0).standard_normal((12, 48)).astype(np.float32)
    packed = pack(matrix, spec, None if not ("sparse" in spec or "four" in spec) else 0.5)
    index, encoded = expand(packed)
    arrays = {role: array.ravel() for role, array in {**index, **encoded.arrays}.items()}
    perm = (0, 2, 1) if transposed else (0, 1, 2)
    form = parse(spec), tuple(arrays), packed.shape, packed.payload_shape, (12, 2, 24), perm, (12, 48)
    call = Unpack(*form, "layer")
    parameters = [PackedParameter(f"w.{role}", array) for role, array in arrays.items()]
    builder = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType((12, 48), "float32"))
    variables = [
        relax.Var(f"p{n}", relax.TensorType(p.array.shape, str(p.array.dtype))) for n, p in enumerate(parameters)
    ]
    with builder.function("main", [x, *variables], attrs={NUM_INPUT: 1}):
        with builder.dataflow():
            out = builder.emit_output(builder.emit(relax.op.multiply(x, builder.emit(call.call(variables)))))
        builder.emit_func_output(out)
    wanted = unpack(packed).reshape(12, 2, 24).transpose(perm).reshape(12, 48)
    return builder.get(), parameters, wanted


@pytest.mark.parametrize("spec", FORMS)
def test_decodes_as_the_reference(spec: str) -> None:
    mod, parameters, wanted = module(spec, transposed=FORMS.index(spec) % 2 == 1)
    with fast_tvmscript():
        plan = lower(mod, resolve("cpu"), ["x"], ["y"], packed=parameters)
    assert plan.prologue
    with Session(Artifact(plan, {"model": {}, "target": {}}).to_bytes()) as session:
        got = session.run({"x": np.ones((12, 48), np.float32)})["y"]
    np.testing.assert_array_equal(got, wanted)


def test_no_call_is_left() -> None:
    mod, _, _ = module("int4", transposed=False)
    expanded = expand_unpacking(mod)
    values = [binding.value for block in expanded["main"].body.blocks for binding in block.bindings]
    assert all(Unpack.of(value) is None for value in values)
    assert any(getattr(value.op, "name", "") == "relax.call_tir" for value in values)
