"""Zero points, centroids and two of four columns in kernels, against NumPy: every instruction set, also on Arm."""

from __future__ import annotations

import dataclasses
from dataclasses import replace
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
from tests.targets.schedules.test_cpu_compressed import is_possible
from tilewright.artifact import Selftest
from tilewright.targets import resolve
from tilewright.targets.schedules.cpu_compressed import compressed
from tilewright.targets.schedules.cpu_dot import Dot
from tilewright.targets.schedules.cpu_fallback import fallback
from tilewright.targets.schedules.cpu_tile import Core

KINDS = ("asymmetric", "centroids", "pairs")


@st.composite
def shapes(draw: st.DrawFn, kind: str, device: str) -> Shape:
    """Products and convolutions by weights of a kind, of any size."""
    target = resolve(device).device
    lanes, dot = Core.of(target).lanes, Dot.of(target)
    word = draw(st.sampled_from([4, 1])) if dot.kind and kind != "centroids" else 1
    bits = draw(st.integers(2, 8))
    centroids = 0
    if kind == "centroids":
        centroids = draw(st.sampled_from([2, 5, 16, 17, 64, 100, 256]))
        bits = (centroids - 1).bit_length()
    elif kind == "pairs" and word == 1:
        bits = draw(st.sampled_from([bits, 16, 32]))
    dense = kind == "pairs" or draw(st.booleans())
    block = (draw(st.integers(1, 4)) * lanes, 4 if kind == "pairs" else word)
    if not dense:
        block = draw(st.sampled_from([(16, 4), (4, 4), (8, 8), (32, 4), (16, 16)]))
    convolution = draw(st.booleans())
    columns = draw(st.integers(1, 6 if convolution else 40))
    kernel = draw(st.tuples(st.integers(1, 2), st.integers(1, 3))) if convolution else (1, 1)
    most = columns * kernel[0] * kernel[1]
    shape = Shape(
        outputs=draw(st.integers(1, 70)),
        block=block,
        columns=columns,
        kept=0 if dense else draw(st.sampled_from([1, most]) | st.integers(1, most)),
        bits=bits,
        word=word,
        rows=() if convolution else draw(st.sampled_from([(1,), (3,), (2, 5)])),
        image=draw(st.tuples(st.integers(1, 2), st.integers(1, 6), st.integers(1, 9))),
        kernel=kernel,
        tile=draw(st.integers(1, 4)),
        offset=dot.offset,
        seed=draw(st.integers(0, 1000)),
        asymmetric=kind == "asymmetric",
        centroids=centroids,
        pairs=kind == "pairs",
    )
    unit = shape.case(lanes).layer.blocks.unit
    group = draw(st.sampled_from([0, 1, 3])) * unit if kind != "centroids" else 0
    return replace(shape, group=group)


@pytest.mark.parametrize("level", [0, 1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_equals_numpy(kind: str, level: int) -> None:
    levels = levels_here()
    device = levels[level % len(levels)]
    lanes = Core.of(resolve(device).device).lanes
    drawn = st.lists(shapes(kind, device).filter(lambda shape: is_possible(shape, device)), min_size=2, max_size=2)

    @settings(max_examples=2, deadline=None, suppress_health_check=list(HealthCheck))
    @given(drawn)
    def property_holds(found: list[Shape]) -> None:
        check([shape.case(lanes) for shape in found], device)

    property_holds()


def edge_cases(lanes: int, offset: int = 0) -> list[Shape]:
    """One block, k = all, odd numbers of blocks, tables of every size, rests of groups."""
    return [
        Shape(1, (16, 4), 1, 1, 8, 4, offset=offset, asymmetric=True),
        Shape(17, (lanes, 4), 9, 0, 4, 4, group=4, rows=(3,), tile=2, offset=offset, asymmetric=True),
        Shape(33, (16, 4), 9, 9, 3, 1, rows=(2,), asymmetric=True),
        Shape(20, (2 * lanes, 1), 35, 0, 5, 1, group=16, asymmetric=True),
        *(
            Shape(37, (lanes, 1), 19, 0, (k - 1).bit_length(), 1, rows=(2,), tile=2, centroids=k)
            for k in (2, 8, 16, 33, 128, 256)
        ),
        Shape(37, (4, 4), 11, 3, 4, 1, centroids=16),
        Shape(37, (8, 2), 11, 11, 8, 1, centroids=200),
        Shape(1, (lanes, 4), 1, 0, 8, 4, offset=offset, pairs=True),
        Shape(50, (3 * lanes, 4), 7, 0, 6, 4, group=4, rows=(5,), tile=3, offset=offset, pairs=True),
        Shape(50, (2 * lanes, 4), 7, 0, 32, 1, rows=(2,), pairs=True),
        Shape(50, (lanes, 4), 7, 0, 16, 1, pairs=True),
        Shape(50, (lanes, 4), 7, 0, 4, 1, pairs=True, asymmetric=True),
        Shape(20, (lanes, 4), 3, 0, 8, 4, rows=(), image=(1, 5, 6), kernel=(2, 3), offset=offset, pairs=True),
    ]


@pytest.mark.parametrize("level", [0, 1, 2])
def test_edges(level: int) -> None:
    levels = levels_here()
    device = levels[level % len(levels)]
    lanes = Core.of(resolve(device).device).lanes
    check([shape.case(lanes) for shape in edge_cases(lanes) if is_possible(shape, device)], device)


def test_extremes_do_not_overflow() -> None:
    """All products at their greatest, of one sign, and zero points at the other end."""
    device = levels_here()[0]
    case = Shape(16, (16, 4), 64, 64, 8, 4, asymmetric=True).case(Core.of(resolve(device).device).lanes)
    assert case.zeros is not None
    case.payload[:], case.zeros[:], case.x[:] = -128, 127, 255
    check([case], device)


def test_on_arm(arm_build: Path, tmp_path: Path) -> None:  # noqa: F811
    """Under emulation: 1e-6 relative L2 (float32 sums of some 40 terms), of which integers use nothing."""
    target = resolve("cpu-dotprod").device
    lanes, offset = Core.of(target).lanes, Dot.of(target).offset
    shapes = [shape for shape in edge_cases(lanes, offset) if is_possible(shape, "cpu-dotprod")]
    cases = [shape.case(lanes) for shape in shapes]
    inputs = {f"x{n}": case.x for n, case in enumerate(cases)}
    wanted = {f"y{n}": case.expected().astype(case.layer.out_dtype) for n, case in enumerate(cases)}
    made = dataclasses.replace(artifact(cases, "cpu-dotprod"), selftest=Selftest(inputs, wanted, 1e-6))
    made.save(tmp_path / "kernels.tw")
    done = run_on_arm(arm_build, "cortex-a76", tmp_path / "kernels.tw", "--selftest")
    assert done.returncode == 0, done.stderr
    assert "self-test passed on aarch64 cpu" in done.stdout


@pytest.mark.parametrize("place", [1, 3, 6, 10, 13, 15, 17])
def test_the_meaning_is_the_kernels(place: int) -> None:
    """The PrimFunc before scheduling, which fusion and the fallback go by, computes what the kernel does."""
    device = levels_here()[-1]
    target = resolve(device)
    lanes = Core.of(target.device).lanes
    case = edge_cases(lanes)[place].case(lanes)
    func = fallback(compressed(case.layer), target.device).with_attr("global_symbol", "kernel")
    library = tvm.compile(tvm.IRModule({"kernel": func}), target.tvm_target)
    out = tvm.runtime.empty(case.layer.out_shape, case.layer.out_dtype)
    library["kernel"](*(tvm.runtime.tensor(array) for array in (case.x, *case.arrays)), out)
    np.testing.assert_array_less(np.abs(out.numpy() - case.expected()), case.bound() + 1e-9)
