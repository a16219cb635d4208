"""Kernels that decode ASTC blocks, against what the format's own decoder says, in double precision; also on Arm."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tvm
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tvm import relax

from tests.runtime.conftest import cmake_build  # noqa: F401  (a fixture, as is the next)
from tests.runtime.test_aarch64 import arm_build  # noqa: F401
from tests.runtime.test_aarch64 import run as run_on_arm
from tests.targets.running import levels_here
from tests.targets.schedules.compressed_layers import Conv, activations, matrix
from tilewright.artifact import Artifact, Selftest
from tilewright.formats.base import Encoded
from tilewright.formats.codecs.astc import ise, modes
from tilewright.formats.codecs.astc.codec import Astc
from tilewright.lower import pipeline
from tilewright.runtime import Session
from tilewright.targets import resolve
from tilewright.targets.schedules.cpu_astc import AstcLayer, astc
from tilewright.targets.schedules.cpu_astc_blocks import AstcBlocks
from tilewright.targets.schedules.cpu_fallback import fallback
from tilewright.targets.schedules.cpu_tile import Core
from tilewright.targets.schedules.window import Window

Array = npt.NDArray[Any]

# Symbols alone in a field, in twos (8x5) and in threes (10x6); fields across words; and weights of a smaller grid.
CODECS = [
    Astc(4, 4), Astc(4, 4, 16), Astc(5, 4), Astc(5, 5), Astc(6, 5), Astc(6, 6), Astc(8, 5), Astc(8, 6), Astc(10, 5),
    Astc(10, 6), Astc(8, 8), Astc(12, 12),
]  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Case:
    """A layer on a device, its blocks and activations; ``rows`` of a product, or a convolution without padding."""

    codec: Astc
    outputs: int
    depth: int
    rows: tuple[int, ...] = (1,)
    conv: Conv | None = None

    @cached_property
    def encoded(self) -> Encoded:
        return self.codec.encode(matrix(self.outputs, self.depth, self.outputs))

    def layer(self, device: str) -> AstcLayer:
        core, c = Core.of(resolve(device).device), self.conv
        blocks = AstcBlocks.of(self.codec, (self.outputs, self.depth), core.lanes)
        assert blocks is not None
        if c is None:
            return AstcLayer(blocks, (*self.rows, self.depth)).tiled(core)
        sizes = (*c.kernel, c.stride, c.stride, c.dilation, c.dilation)
        window = Window(c.batch, *c.size, *c.out, *sizes, 0, 0)
        return AstcLayer(blocks, (c.batch, *c.size, c.channels), window).tiled(core)

    def operands(self, device: str) -> list[Array]:
        layer = self.layer(device)
        packed = layer.blocks.pack(self.encoded.arrays["blocks"])
        assert not isinstance(packed, str)
        places = [] if layer.window is None else [np.array(layer.window.offsets(*layer.shape[2:]), np.int32)]
        return [*places, packed, layer.blocks.table(resolve(device).device)]

    def x(self) -> Array:
        c = self.conv
        return activations(*self.rows, self.depth) if c is None else activations(c.batch, *c.size, c.channels)

    def patches(self) -> Array:
        x = self.x()
        return x.astype(np.float64) if self.conv is None else self.conv.patches(x.transpose(0, 3, 1, 2))

    def expected(self) -> Array:
        """In units of a row's scale, as the kernel has it; exact but for float64."""
        return self.patches() @ self.weights.T

    @cached_property
    def weights(self) -> Array:
        """As the format's own decoder says, in units of a row's scale: integers."""
        decoded = self.codec.decode(self.encoded).astype(np.float64)
        return np.rint(decoded / self.encoded.arrays["scales"][:, None].astype(np.float64))

    def bound(self) -> Array:
        """How far any order of float32 sums may be from that (Higham, Accuracy and Stability, 2002, section 3.1)."""
        return (self.depth + 3) * 2.0**-24 * (np.abs(self.patches()) @ np.abs(self.weights.T)) + 1e-30


def artifact(layers: Sequence[AstcLayer], operands: Sequence[Sequence[Array]], device: str) -> Artifact:
    """All layers in one network: inputs x0, x1, ... and outputs y0, y1, ..."""
    builder, target = relax.BlockBuilder(), resolve(device)
    inputs = [relax.Var(f"x{n}", relax.TensorType(layer.shape, "float32")) for n, layer in enumerate(layers)]
    with builder.function("main", inputs):
        with builder.dataflow():
            results = []
            for x, layer, arrays in zip(inputs, layers, operands, strict=True):
                function = builder.add_func(astc(layer, target.device), "astc")
                constants = [relax.const(array, str(array.dtype)) for array in arrays]
                out_type = relax.TensorType(layer.out_shape, "float32")
                results.append(builder.emit(relax.call_tir(function, [x, *constants], out_ty=out_type)))
            result = builder.emit_output(relax.Tuple(results))
        builder.emit_func_output(result)
    names = [[f"{side}{n}" for n in range(len(layers))] for side in "xy"]
    return Artifact(pipeline.lower(builder.get(), target, *names), {"model": {}, "target": {}})


def artifact_of(cases: Sequence[Case], device: str) -> Artifact:
    return artifact([case.layer(device) for case in cases], [case.operands(device) for case in cases], device)


def run(layer: AstcLayer, device: str, x: Array, operands: Sequence[Array]) -> Array:
    with Session(artifact([layer], [operands], device).to_bytes()) as session:
        return session.run({"x0": x})["y0"].copy()


def check(cases: Sequence[Case], device: str, threads: int = 1) -> None:
    with Session(artifact_of(cases, device).to_bytes(), threads=threads) as session:
        results = session.run({f"x{n}": case.x() for n, case in enumerate(cases)})
    for n, case in enumerate(cases):
        got, wanted = results[f"y{n}"], case.expected()
        assert got.shape == wanted.shape
        excess = np.abs(got - wanted) / case.bound()
        assert excess.max() <= 1, f"{excess.max():.2g} times what rounding explains: {case}"


@st.composite
def products(draw: st.DrawFn) -> Case:
    rows = draw(st.sampled_from([(1,), (2,), (5,), (2, 3), (17,), (130,)]))
    return Case(draw(st.sampled_from(CODECS)), draw(st.integers(1, 150)), draw(st.integers(1, 90)), rows)


@st.composite
def convolutions(draw: st.DrawFn) -> Case:
    kernel = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    stride, dilation = draw(st.integers(1, 2)), draw(st.integers(1, 2))
    size = draw(st.tuples(st.integers(5, 12), st.integers(5, 12)))
    conv = Conv(draw(st.integers(1, 7)), size, kernel, stride, dilation, 0, draw(st.integers(1, 2)))
    return Case(draw(st.sampled_from(CODECS)), draw(st.integers(1, 100)), conv.depth, (), conv)


@pytest.mark.parametrize("drawn", [products(), convolutions()], ids=["products", "convolutions"])
@pytest.mark.parametrize("level", [0, 1])
def test_equals_numpy(level: int, drawn: st.SearchStrategy[Case]) -> None:
    levels = levels_here()
    device = levels[level % len(levels)]

    @settings(max_examples=2, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(drawn, min_size=3, max_size=3))
    def property_holds(cases: list[Case]) -> None:
        check(cases, device)

    property_holds()


def edge_cases() -> list[Case]:
    """Every codec; one block, less than one, a last panel of every kind, some stages and strips and less than one."""
    rows = [(1,), (1,), (2,), (1,), (9,)]
    cases = [Case(codec, 60 + 9 * n, 31 + 2 * n, rows[n % 5]) for n, codec in enumerate(CODECS)]
    return [*cases, Case(Astc(6, 6), 1, 1), Case(Astc(6, 6), 6 * 16 * 2, 150, (260,))]


@pytest.mark.parametrize("level", [0, 1])
def test_edges(level: int) -> None:
    levels = levels_here()
    check(edge_cases()[level::2], levels[level % len(levels)])


@pytest.mark.parametrize("levels", [3, 6, 16, 32])
def test_weights_are_the_formats_to_the_bit(levels: int) -> None:
    """Products by rows of an identity are weights: of endpoints of any order and distance, halves among them."""
    device = levels_here()[levels % 2]
    codec, core = Astc(4, 4, levels), Core.of(resolve(device).device)
    blocks = AstcBlocks.of(codec, (4 * 256, 4 * 40), core.lanes)
    assert blocks is not None
    rng, mode = np.random.default_rng(levels), blocks.scheme.mode
    ends, symbols = rng.integers(0, 256, (2, 256 * 40)), rng.integers(0, levels, (mode.weights, 256 * 40))
    words = ise.reverse(ise.encode(symbols.astype(np.uint8), mode.weight_range))
    ise.deposit(words, modes.ENDPOINTS_AT, ise.encode(ends.astype(np.uint8), blocks.scheme.endpoint_range)[0])
    words[0] |= np.uint64(modes.code_of(mode))
    encoded = Encoded(
        {"blocks": ise.blocks_of(words).reshape(256, 40, 16), "scales": np.ones(1024, np.float32)}, (1024, 160)
    )
    for rows in (1, 160):
        layer = AstcLayer(blocks, (rows, 160)).tiled(core)
        x = np.eye(160, dtype=np.float32)[-rows:]
        packed = blocks.pack(encoded.arrays["blocks"])
        assert not isinstance(packed, str)
        got = run(layer, device, x, [packed, blocks.table(resolve(device).device)])
        np.testing.assert_array_equal(got, codec.decode(encoded).T[-rows:])


def test_threads_give_the_same() -> None:
    """Large enough to start the pool; every thread has a stage of its own."""
    check([Case(Astc(6, 6), 500, 300, (40,)), Case(Astc(6, 6), 1000, 600)], levels_here()[-1], threads=2)


@pytest.mark.parametrize("place", range(1, 14, 5))
def test_the_meaning_is_the_kernels(place: int) -> None:
    """The PrimFunc before scheduling, which fusion and the fallback go by, computes what the kernel does."""
    device, case = levels_here()[-1], edge_cases()[place]
    target, layer = resolve(device), case.layer(device)
    func = fallback(astc(layer, target.device), target.device).with_attr("global_symbol", "kernel")
    library = tvm.compile(tvm.IRModule({"kernel": func}), target.tvm_target)
    out = tvm.runtime.empty(layer.out_shape, "float32")
    library["kernel"](*(tvm.runtime.tensor(array) for array in (case.x(), *case.operands(device))), out)
    assert (np.abs(out.numpy() - case.expected()) <= case.bound()).all()


def test_on_arm(arm_build: Path, tmp_path: Path) -> None:  # noqa: F811
    """The same under emulation, within 1e-6 relative L2: float32 sums of some 100 terms."""
    cases = [*edge_cases()[4::6], Case(Astc(5, 5), 7, 64, (), Conv(16, (2, 3), (2, 2)))]
    inputs = {f"x{n}": case.x() for n, case in enumerate(cases)}
    wanted = {f"y{n}": case.expected().astype(np.float32) for n, case in enumerate(cases)}
    made = dataclasses.replace(artifact_of(cases, "cpu-neon"), selftest=Selftest(inputs, wanted, 1e-6))
    made.save(tmp_path / "kernels.tw")
    done = run_on_arm(arm_build, "cortex-a53", tmp_path / "kernels.tw", "--selftest")
    assert done.returncode == 0, done.stderr
    assert "self-test passed on aarch64 cpu" in done.stdout


def test_tiles_fit_into_registers() -> None:
    for device in ("cpu-avx2", "cpu-avx512", "cpu-neon"):
        core = Core.of(resolve(device).device)
        for codec in CODECS:
            for rows in (1, 3, 16, 100, 1000):
                layer = Case(codec, 64, 64, (rows,)).layer(device)
                assert layer.tile * layer.blocks.height < core.registers
                assert layer.tile <= (layer.strip or rows) <= rows
