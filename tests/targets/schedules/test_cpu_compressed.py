"""Kernels that read compressed weights, against NumPy: all depths, blocks, groups, tiles and windows; also on Arm."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import tvm
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.runtime.conftest import cmake_build  # noqa: F401  (a fixture, as is the next)
from tests.runtime.test_aarch64 import arm_build  # noqa: F401
from tests.runtime.test_aarch64 import run as run_on_arm
from tests.targets.running import levels_here
from tests.targets.schedules.packed import Shape, artifact, check
from tilewright.artifact import Selftest
from tilewright.targets import resolve
from tilewright.targets.schedules.cpu_blocks import Blocks
from tilewright.targets.schedules.cpu_compressed import Compressed, compressed, offsets
from tilewright.targets.schedules.cpu_dot import Dot
from tilewright.targets.schedules.cpu_fallback import fallback
from tilewright.targets.schedules.cpu_tile import Core
from tilewright.targets.schedules.window import Window

SIDES = (1, 2, 4, 8, 16, 32)


def is_possible(shape: Shape, device: str) -> bool:
    """Whether the device has a kernel for such blocks."""
    target = resolve(device)
    blocks = shape.case(Core.of(target.device).lanes).layer.blocks
    lanes = blocks.vector_lanes
    return lanes >= 4 and (shape.word == 1 or Dot.of(target.device).takes(lanes))


@st.composite
def shapes(draw: st.DrawFn, device: str, convolution: bool = False) -> Shape:
    """Any layer that the template takes on a device."""
    target = resolve(device)
    lanes = Core.of(target.device).lanes
    dot = Dot.of(target.device)
    word = draw(st.sampled_from([4, 1])) if dot.kind else 1
    bits = draw(st.sampled_from([2, 3, 4, 5, 6, 7, 8, *([16, 32] if word == 1 else [])]))
    dense = draw(st.booleans())
    if dense:
        block = draw(st.sampled_from([1, 2, 3, 4])) * lanes, word
    else:
        block = draw(st.sampled_from(SIDES)), draw(st.sampled_from([side for side in SIDES if side >= word]))
    kernel = draw(st.tuples(st.integers(1, 3), st.integers(1, 3))) if convolution else (1, 1)
    columns = draw(st.integers(1, 40 if not convolution else 6))
    taps = math.prod(kernel)
    kept = 0 if dense else draw(st.sampled_from([1, columns * taps]) | st.integers(1, columns * taps))
    unit = Blocks(1, 1, *block, 8, not dense, bits, word, lanes).unit
    group = draw(st.sampled_from([0, 0, 1, 2, 3])) * unit
    rows = () if convolution else draw(st.sampled_from([(1,), (2,), (5,), (16,), (2, 3), (1, 1, 4)]))
    shape = Shape(
        draw(st.integers(1, 70)),
        block,
        columns,
        kept,
        bits,
        word,
        group,
        rows,
        draw(st.tuples(st.integers(1, 2), st.integers(1, 9), st.integers(1, 9))),
        kernel,
        draw(st.tuples(st.integers(1, 3), st.integers(1, 3))) if convolution else (1, 1),
        draw(st.tuples(st.integers(1, 2), st.integers(1, 2))) if convolution else (1, 1),
        draw(st.integers(1, 7)),
        dot.offset,
        draw(st.integers(0, 1000)),
    )
    return shape


@pytest.mark.parametrize("convolution", [False, True])
@pytest.mark.parametrize("level", [0, 1, 2])
def test_equals_numpy(level: int, convolution: bool) -> None:
    levels = levels_here()
    device = levels[level % len(levels)]
    lanes = Core.of(resolve(device).device).lanes
    drawn = shapes(device, convolution).filter(lambda shape: is_possible(shape, device))

    @settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
    @given(drawn)
    def property_holds(shape: Shape) -> None:
        check([shape.case(lanes)], device)

    property_holds()


def edge_cases(lanes: int, offset: int = 0) -> list[Shape]:
    """Odd sizes, one block, k = all, more outputs than a block, tails of every kind."""
    word = 4
    return [
        Shape(1, (16, 4), 1, 1, 8, word, offset=offset),
        Shape(17, (16, 4), 9, 9, 4, word, rows=(3,), tile=2, offset=offset),
        Shape(1000 % 97, (32, 4), 7, 3, 3, word, rows=(5,), tile=3, offset=offset),
        Shape(40, (2 * lanes, 4), 33, 0, 8, word, rows=(7,), tile=4, offset=offset),
        Shape(40, (4 * lanes, 4), 16, 0, 4, word, group=8, rows=(5,), tile=2, offset=offset),
        Shape(33, (4, 4), 12, 5, 8, word, rows=(4,), tile=4, offset=offset),
        Shape(31, (1, 16), 6, 2, 8, word, rows=(2,), tile=2, offset=offset),
        Shape(37, (16, 1), 50, 7, 32, 1, rows=(6,), tile=4),
        Shape(37, (1, 16), 5, 5, 16, 1, rows=(6,), tile=4),
        Shape(5, (8, 2), 12, 4, 7, 1, group=8, rows=(1,)),
        Shape(70, (4, 4), 24, 6, 3, 1, rows=(2,)),
        Shape(70, (4, 4), 24, 6, 6, 1, rows=(2,)),
        Shape(20, (16, 4), 3, 5, 8, word, rows=(), image=(2, 9, 8), kernel=(3, 3), tile=5, offset=offset),
        Shape(20, (16, 4), 3, 0, 4, word, rows=(), image=(1, 9, 8), kernel=(2, 3), stride=(2, 1), offset=offset),
        Shape(20, (16, 1), 9, 20, 32, 1, rows=(), image=(1, 9, 8), kernel=(3, 3), dilation=(2, 2), tile=3),
    ]


@pytest.mark.parametrize("level", [0, 1, 2])
def test_edges(level: int) -> None:
    levels = levels_here()
    device = levels[level % len(levels)]
    lanes = Core.of(resolve(device).device).lanes
    check([shape.case(lanes) for shape in edge_cases(lanes) if is_possible(shape, device)], device)


def test_threads_give_the_same() -> None:
    device = levels_here()[-1]
    shapes = [
        Shape(512, (16, 4), 256, 128, 8, 4, rows=(16,), tile=8),  # large enough to start the pool
        Shape(64, (16, 4), 16, 40, 8, 4, rows=(), image=(1, 40, 40), kernel=(3, 3), tile=8),
    ]
    check([shape.case(Core.of(resolve(device).device).lanes) for shape in shapes], device, threads=2)


def test_extremes_do_not_overflow() -> None:
    """All products at their greatest, of one sign: int16 in between would not hold two of them."""
    device = levels_here()[0]
    lanes = Core.of(resolve(device).device).lanes
    case = Shape(16, (16, 4), 64, 64, 8, 4).case(lanes)
    case.payload[:] = -128
    case.x[:] = 255
    check([case], device)


@pytest.mark.parametrize(
    ("device", "core"), [("cpu-neon", "cortex-a53"), ("cpu-dotprod", "cortex-a76"), ("cpu-i8mm", "max")]
)
def test_on_arm(arm_build: Path, tmp_path: Path, device: str, core: str) -> None:  # noqa: F811
    """The same under emulation: integers exact, floats within 1e-6 relative L2 (float32 sums of some 100 terms)."""
    target = resolve(device).device
    lanes, offset = Core.of(target).lanes, Dot.of(target).offset
    shapes = [shape for shape in edge_cases(lanes, offset) if is_possible(shape, device)]
    assert any(shape.word == 4 for shape in shapes) == (device != "cpu-neon")
    for exact in (True, False):
        cases = [case for case in (shape.case(lanes) for shape in shapes) if (case.layer.out_dtype == "int32") == exact]
        if not cases:
            continue
        inputs = {f"x{n}": case.x for n, case in enumerate(cases)}
        wanted = {f"y{n}": case.expected().astype(case.layer.out_dtype) for n, case in enumerate(cases)}
        selftest = Selftest(inputs, wanted, 0.0 if exact else 1e-6)
        dataclasses.replace(artifact(cases, device), selftest=selftest).save(tmp_path / "kernels.tw")
        done = run_on_arm(arm_build, core, tmp_path / "kernels.tw", "--selftest")
        assert done.returncode == 0, done.stderr
        assert "self-test passed on aarch64 cpu" in done.stdout


@pytest.mark.parametrize("place", range(15))
def test_the_meaning_is_the_kernels(place: int) -> None:
    """The PrimFunc before scheduling, which fusion and the fallback go by, computes what the kernel does."""
    device = levels_here()[-1]
    target = resolve(device)
    case = edge_cases(Core.of(target.device).lanes)[place].case(Core.of(target.device).lanes)
    func = fallback(compressed(case.layer), target.device).with_attr("global_symbol", "kernel")
    library = tvm.compile(tvm.IRModule({"kernel": func}), target.tvm_target)
    out = tvm.runtime.empty(case.layer.out_shape, case.layer.out_dtype)
    library["kernel"](*(tvm.runtime.tensor(array) for array in (case.x, *case.arrays)), out)
    np.testing.assert_array_less(np.abs(out.numpy() - case.expected()), case.bound() + 1e-9)


def test_offsets_point_at_the_columns_of_each_tap() -> None:
    window = Window(1, 7, 6, 3, 4, 2, 2, 2, 1, 2, 2, 0, 0)
    blocks = Blocks(16, 2 * 2 * 8, 16, 4, 3, True, 8, 4, 16)
    layer = Compressed(blocks, (1, 7, 6, 8), window)
    image = np.arange(7 * 6 * 8)
    places = [image.reshape(7, 6, 8)[2 * i, 2 * j, c] for i in range(2) for j in range(2) for c in (0, 4)]
    assert offsets(layer) == places


def test_tiles_fit_into_registers() -> None:
    core = Core.of(resolve("cpu-avx2").device)
    for rows in (1, 3, 16, 100):
        blocks = Blocks(64, 64, 16, 4, 4, True, 8, 4, core.lanes)
        tiled = Compressed(blocks, (rows, 64)).tiled(core)
        assert 1 <= tiled.tile <= rows
        assert tiled.tile * blocks.vectors + blocks.vectors + 2 <= core.registers
