"""Layers in several forms beside onnxruntime fp32 and rivals: the measuring and the table of fc.py and conv.py.

Everything of one layer runs in one process in turns, one thread. A ratio is the median over the rounds of one
contestant's CPU time by that of onnxruntime fp32 in the same round; bars are held against the CPU time, which other
work on the machine hardly touches, and the table shows wall time too. onnxruntime runs with inputs and outputs bound,
its cheapest call from Python. Ours is called from C and through ``Session.run`` ("Python"); the bar counts the former,
or the latter where there is no C compiler.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.metadata
import json
import math
import platform
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.layers import Form, Layer, bound, build, errors, session
from benchmarks.rivals.base import RivalError
from benchmarks.rivals.runtimes import RUNTIMES
from benchmarks.timing import FromC, Loop, Moving, ReadOnly, Times, has_compiler, interleave, repeated
from tilewright.errors import TilewrightError
from tilewright.formats.layouts.block_sparse import BlockSparse
from tilewright.formats.registry import parse
from tilewright.numeric import relative_l2
from tilewright.runtime import Session

BASE, MOVING = "onnxruntime fp32", "moving"
DENSITY = 0.1  # of sparse formats that ``--weights`` adds


@dataclass(frozen=True)
class Row:
    """A form of a layer, ours or a rival's, beside the base of its table: onnxruntime fp32, if nothing else is said.

    Attributes:
        us: microseconds a call; ours from C.
        wall, cpu: by the base's.
        python_cpu: the same of CPU time through ``Session.run``.
        error: relative L2 from the float model with the same zeros.
        exactness: relative L2 from onnxruntime's result of the compressed model; None for rivals.
        reading: CPU time of only reading as many bytes as the weights take, by onnxruntime's: the floor of a layer that
            reads its weights once.
        moving: the same of only reading as many bytes as the layer's input has and writing as many as its output: a
            floor that density does not lower.
        weight_bytes, file_bytes: of the artifact.
        bar: of ``cpu``: at most, or ``at_least``.
    """

    layer: str
    batch: int
    form: str
    us: float
    wall: float
    cpu: float
    error: float
    python_us: float | None = None
    python_cpu: float | None = None
    exactness: float | None = None
    reading: float | None = None
    moving: float | None = None
    weight_bytes: int | None = None
    file_bytes: int | None = None
    kernels: tuple[str, ...] = ()
    bar: float | None = None
    at_least: bool = False
    compile_cpu_s: float | None = None

    @property
    def holds(self) -> bool:
        if self.bar is None:
            return True
        return self.cpu >= self.bar if self.at_least else self.cpu <= self.bar


def measure(
    layer: Layer,
    forms: Sequence[Form],
    rivals: Sequence[str],
    bars: Mapping[str, float],
    target: str,
    rounds: int,
    err: Console,
) -> list[Row]:
    """The rows of one layer; what cannot be compiled, is not installed, or is not read packed, is named on ``err``."""
    x = layer.sample()
    base = session(layer.model(layer.matrix()))
    contestants: dict[str, Loop] = {BASE: repeated(bound(base, {"x": x}))}
    found: dict[str, dict[str, Any]] = {}
    if has_compiler():
        contestants[MOVING] = Moving(x.nbytes, 4 * math.prod(layer.y))
    with TemporaryDirectory() as name, ExitStack() as stack:
        for form in forms:
            try:
                built = build(layer, form, target, Path(name))
            except TilewrightError as error:
                err.print(f"{layer.name}, {form.name}: {error}", markup=False)
                continue
            if built.note:
                err.print(f"{layer.name}, {form.name}: {built.note}", markup=False)
            ours = stack.enter_context(Session(built.path, threads=1))
            exactness, error = errors(layer, built, ours.run({"x": x})["y"])
            contestants[f"{form.name} Python"] = repeated(lambda ours=ours: ours.run({"x": x}))  # type: ignore[misc]
            if has_compiler():
                in_c = FromC(built.path, x, int(np.prod(layer.y)))
                stack.callback(in_c.close)
                contestants[f"{form.name} C"] = in_c
                contestants[f"{form.name} reading"] = ReadOnly(built.weight_bytes)
            found[form.name] = {
                "error": error,
                "exactness": exactness,
                "weight_bytes": built.weight_bytes,
                "file_bytes": built.file_bytes,
                "kernels": built.kernels,
                "compile_cpu_s": built.compile_cpu_s,
                "bar": bars.get(form.name),
            }
        for rival in rivals:
            try:
                ready = RUNTIMES[rival](layer)
            except RivalError as error:
                err.print(f"skipped {rival} on {layer.name}: {error}", markup=False)
                continue
            exact = session(layer.model(ready.matrix)).run(None, {"x": x})[0]
            contestants[rival] = repeated(ready.run)
            found[rival] = {"error": relative_l2(np.asarray(ready.result()), exact)}
        times = interleave(contestants, rounds)
    base_row = Row(layer.name, layer.x[0], BASE, times[BASE].median_us, 1.0, 1.0, 0.0)
    return [base_row, *(_row(layer, form, facts, times) for form, facts in found.items())]


def _row(layer: Layer, form: str, facts: Mapping[str, Any], times: Mapping[str, Times]) -> Row:
    python = times.get(f"{form} Python")
    mine = times.get(f"{form} C") or python or times[form]
    wall, cpu = mine.over(times[BASE])
    row = Row(layer.name, layer.x[0], form, mine.median_us, wall, cpu, **facts)
    if f"{form} reading" in times:
        reading, moving = (times[key].over(times[BASE])[1] for key in (f"{form} reading", MOVING))
        row = dataclasses.replace(row, reading=reading, moving=moving)
    if python is None:
        return row
    return dataclasses.replace(row, python_us=python.median_us, python_cpu=python.over(times[BASE])[1])


def table(rows: Sequence[Row]) -> Table:
    """The rows as the terminal shows them."""
    result = Table("layer", "batch", "form")
    for heading in (
        "us",
        "cpu ratio",
        "wall",
        "reading",
        "moving",
        "bar",
        "",
        "Python us",
        "Python cpu",
        "error",
        "vs. ONNX",
        "weights",
        "file",
    ):
        result.add_column(heading, justify="right")
    for row in rows:
        verdict = "" if row.bar is None else "held" if row.holds else "MISSED"
        result.add_row(
            row.layer,
            str(row.batch),
            row.form,
            f"{row.us:.1f}",
            f"{row.cpu:.3f}",
            f"{row.wall:.3f}",
            _text(row.reading, ".3f"),
            _text(row.moving, ".3f"),
            _text(row.bar, "g"),
            verdict,
            _text(row.python_us, ".1f"),
            _text(row.python_cpu, ".3f"),
            f"{row.error:.1e}",
            _text(row.exactness, ".1e"),
            _text(row.weight_bytes, ","),
            _text(row.file_bytes, ","),
        )
    return result


def _text(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def arguments(parser: argparse.ArgumentParser, layers: Sequence[str], forms: Sequence[str]) -> None:
    """Declares the options that fc.py and conv.py share."""
    listed = ", ".join(forms).replace("%", "%%")  # argparse formats its help
    parser.add_argument("--layer", nargs="+", choices=layers, default=list(layers), metavar="NAME")
    parser.add_argument("--form", nargs="+", choices=forms, default=list(forms), metavar="NAME", help=f"of {listed}")
    parser.add_argument(
        "--rival", nargs="*", choices=list(RUNTIMES), default=[], metavar="NAME", help=f"of {', '.join(RUNTIMES)}"
    )
    parser.add_argument(
        "--weights",
        nargs="+",
        default=[],
        metavar="FORMAT",
        help="rows more, with float activations: 'codebook(16)', or 90 % zeros in 'block_sparse(16,4) astc(6,6)'",
    )
    parser.add_argument("--target", default="cpu")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write rows, machine and versions as JSON")


def chosen(forms: Sequence[Form], args: argparse.Namespace) -> list[Form]:
    """The forms that the options of ``arguments`` ask for."""
    return [form for form in forms if form.name in args.form] + [_form(text) for text in args.weights]


def _form(text: str) -> Form:
    layout, codec = parse(text).layout, parse(text).codec.spec
    if isinstance(layout, BlockSparse):
        return Form(f"{codec} {1 - DENSITY:.0%} {layout.bh}x{layout.bw}", (layout.bh, layout.bw), DENSITY, codec)
    return Form(codec, weights=codec)


def finish(rows: Sequence[Row], path: Path | None) -> int:
    """Writes the JSON and names the bars that are missed; returns the exit code."""
    if path is not None:
        entries = [dataclasses.asdict(row) | {"holds": row.holds} for row in rows]
        path.write_text(json.dumps({**machine(), "rows": entries}, indent=2) + "\n")
    barred = [row for row in rows if row.bar is not None]
    missed = [row for row in barred if not row.holds]
    for row in missed:
        what = f"{row.layer} batch {row.batch} {row.form}"
        print(f"MISSED  {what}: {row.cpu:.3f} of onnxruntime fp32, the bar is {row.bar:g}")
    print(f"{len(barred) - len(missed)} of {len(barred)} bars held")
    return 1 if missed else 0


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    cpu = next(
        (line.split(":", 1)[1].strip() for line in _lines(Path("/proc/cpuinfo")) if line.startswith("model name")),
        platform.processor(),
    )
    packages = {}
    for package in ("tilewright", "onnxruntime", "openvino", "ai-edge-litert", "deepsparse", "torch", "scipy"):
        try:
            packages[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {"cpu": cpu, "python": platform.python_version(), "versions": packages}


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.is_file() else []


def console() -> tuple[Console, Console]:
    """For tables, wide where nobody's terminal limits it, and for remarks."""
    return Console(width=None if sys.stdout.isatty() else 170), Console(stderr=True)
