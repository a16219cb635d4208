"""Images staged for convolutions by planes, against NumPy."""

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
from tilewright.targets.schedules.cpu_stage import Stage, stage_image

EXTREMES = np.array([3.4e38, -3.4e38, np.inf, -np.inf, 1e12, -1e12, 2.0**31, 0, -0.0], np.float32)


@st.composite
def stages(draw: st.DrawFn) -> Stage:
    height, width = draw(st.integers(1, 9)), draw(st.integers(1, 40))
    top, left, bottom, right = (draw(st.integers(0, 3)) for _ in range(4))
    batch, channels, integer = draw(st.integers(1, 2)), draw(st.integers(1, 9)), draw(st.booleans())
    return Stage(batch, channels, height, width, top, left, height + top + bottom, width + left + right, integer)


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(stages(), st.integers(0, 255), st.sampled_from([0.01, 0.5, 1.0, 1.7, 1e-25, 1e-40, 1e30]), st.integers(0, 2))
def test_staged_images(stage: Stage, zero: int, scale: float, level: int) -> None:
    """Exact: quantizing is defined to the bit, and floats are moved."""
    s = stage
    image = np.random.default_rng(0).standard_normal((s.batch, s.channels, s.height, s.width)).astype(np.float32)
    image *= np.float32(60 * scale) if s.integer else 1
    image.flat[:: 1 + image.size // 9] = np.resize(EXTREMES, len(image.flat[:: 1 + image.size // 9]))
    builder = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType(image.shape, "float32"))
    with builder.function("main", [x]):
        with builder.dataflow():
            constants = [relax.const(np.float32(scale)), relax.const(np.int32(zero))] if s.integer else []
            out_type = relax.TensorType(s.out_shape, s.out_dtype)
            call = relax.call_tir(builder.add_func(stage_image(s), "stage"), [x, *constants], out_ty=out_type)
            out = builder.emit_output(call)
        builder.emit_func_output(out)
    levels = levels_here()
    with fast_tvmscript():
        plan = pipeline.lower(builder.get(), resolve(levels[level % len(levels)]), ["x"], ["y"])
    with Session(Artifact(plan, {"model": {}, "target": {}}).to_bytes()) as session:
        got = session.run({"x": image})["y"]
    if s.integer:
        with np.errstate(over="ignore"):
            image = np.clip(np.rint(image / np.float32(scale)) + zero, 0, 255).astype(np.uint8)
    channels = -(-s.channels // 4) * 4 if s.integer else s.channels
    wanted = np.full((s.batch, channels, s.new_height, s.new_width), zero if s.integer else 0, image.dtype)
    wanted[:, : s.channels, s.top : s.top + s.height, s.left : s.left + s.width] = image
    if s.integer:
        wanted = wanted.reshape(s.batch, channels // 4, 4, s.new_height, s.new_width).transpose(0, 1, 3, 4, 2)
    np.testing.assert_array_equal(got, wanted, strict=True)
