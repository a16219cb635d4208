"""Rows staged for products whose lanes are rows, against NumPy."""

from __future__ import annotations

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tvm import relax

from tests.targets.running import levels_here
from tilewright.artifact import Artifact
from tilewright.lower import pipeline
from tilewright.lower.tvm_setup import fast_tvmscript
from tilewright.runtime import Session
from tilewright.targets import resolve
from tilewright.targets.schedules.cpu_blocks import Blocks
from tilewright.targets.schedules.cpu_gather import gather_rows, staged_rows
from tilewright.targets.schedules.cpu_tile import Core


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.sampled_from([1, 9, 16, 32, 33]),
    st.sampled_from([16, 64, 70, 128]),
    st.sampled_from([1, 4, 16]),
    st.booleans(),
    st.integers(0, 2),
)
def test_gathered_rows(rows: int, depth: int, width: int, integer: bool, level: int) -> None:
    """Exact: nothing is computed."""
    levels = levels_here()
    target = resolve(levels[level % len(levels)])
    word = 4 if integer and width > 1 else 1
    blocks = Blocks(16, depth, 16, width, 1, True, 8, word, Core.of(target.device).lanes)
    dtype, shape = "uint8" if word == 4 else "float32", staged_rows(rows, depth, blocks)
    data = np.random.default_rng(0).integers(1, 256, (rows, depth)).astype(dtype)
    builder = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType(data.shape, dtype))
    with builder.function("main", [x]):
        with builder.dataflow():
            gather = builder.add_func(gather_rows(rows, depth, blocks), "gather_rows")
            out = builder.emit_output(relax.call_tir(gather, [x], out_ty=relax.TensorType(shape, dtype)))
        builder.emit_func_output(out)
    with fast_tvmscript():
        plan = pipeline.lower(builder.get(), target, ["x"], ["y"])
    with Session(Artifact(plan, {"model": {}, "target": {}}).to_bytes()) as session:
        got = session.run({"x": data})["y"]
    wanted = np.zeros((shape[1] // word, shape[0] * word), dtype)
    wanted[:rows, :depth] = data
    wanted = wanted.reshape(-1, shape[0], word).transpose(1, 0, 2).reshape(shape)
    np.testing.assert_array_equal(got, wanted, strict=True)
