"""Compressed networks side by side: size and accuracy of every format, beside onnxruntime's and NNCF's quantizers.

    python -m benchmarks.compression [--models mnist-conv ...] [--formats int8 int4 ...] [--no-rivals] [--quick]
                                     [--artifacts] [--json out.json]

Nothing is retrained. Everybody starts from the same float ONNX and calibrates on the same data, none of which is
measured on; every form runs in onnxruntime. "weights" counts all constants alike: scales, zero points, codebooks,
indices, padding and biases too; entropy-coded arrays count as they lie in the artifact. "agree" is the share of
decisions on unlabelled inputs that stay the float network's, "error" the relative L2 of the outputs there. Exit code 1
where a bar is missed; the bars are in compression_bars.py. Rivals' results are kept in the cache, so a second run is
quicker. What fails is a row with the reason, or a network without rows: everything else is measured all the same, and
the JSON file is written anew after every row.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnx
from rich.console import Console

import tilewright
from benchmarks.compression_bars import FLOAT, OURS, RIVAL, Bar, Row, alexnet, bars
from benchmarks.evaluation import Yardstick
from benchmarks.networks import Graph
from benchmarks.rivals import RIVALS
from benchmarks.rivals.base import Feeds, RivalError, float_model, parameter_bytes
from benchmarks.zoo import efficientnet_lite0, minilm, mnist_bundled, mnist_conv, ppocr
from benchmarks.zoo.base import Model
from tilewright import compression
from tilewright.errors import TilewrightError
from tilewright.formats.packed import symbol_bits
from tilewright.passes.encode import unpackings

MODELS: dict[str, Model] = {
    model.name: model
    for model in (mnist_bundled.MODEL, mnist_conv.MODEL, efficientnet_lite0.MODEL, ppocr.MODELS[0], minilm.MODEL)
}


@dataclass(frozen=True)
class Setting:
    """One of our rows.

    Attributes:
        activations: whether they are quantized too.
    """

    name: str
    recipe: str | Mapping[str, Any]
    activations: bool = False


def weights_only(name: str, recipe: Mapping[str, Any]) -> Setting:
    """Activations stay float. As for rivals, there are calibration data, so all of these rows make the most of them."""
    quantize = {"rounding": "adaptive", "correct_bias": True, **recipe.get("quantize", {})}
    return Setting(name, {**recipe, "quantize": quantize})


SETTINGS = (
    Setting("int8", "int8", activations=True),
    Setting("int8-rounded", {"preset": "int8", "quantize": {"rounding": "adaptive"}}, activations=True),
    weights_only("weights8", {"preset": "weights8", "quantize": {"rounding": "nearest"}}),
    weights_only("rounded8", {"preset": "weights8"}),
    weights_only("int4", {"preset": "int4"}),
    weights_only("codebook4", {"preset": "codebook4"}),
    weights_only("astc6x5", {"preset": "astc6x5"}),
    weights_only("astc6x6", {"preset": "astc6x6"}),
    weights_only("astcenc6x5", {"preset": "astc6x5", "astc": {"astcenc": 98}}),
    weights_only("astcenc6x6", {"preset": "astc6x6", "astc": {"astcenc": 98}}),
    weights_only("mixed5", {"preset": "mixed5"}),
    weights_only("uniform5", {"quantize": {"weights": "int5"}}),
    weights_only("mixed4", {"preset": "mixed4"}),
    weights_only("uniform4", {"quantize": {"weights": "int4"}}),
    weights_only("mixed7", {"preset": "mixed5", "allocate": {"bits": 7.0}}),  # rivals mix 8 bits with 4
    weights_only("uniform7", {"quantize": {"weights": "int7"}}),
)


class Bench:
    """One network: makes and measures its rows."""

    def __init__(self, model: Model, quick: bool, artifacts: bool) -> None:
        assert model.calibration is not None
        self.model = model
        self.artifacts = artifacts
        self.source = float_model(model)
        self.calibration: Feeds = list(model.calibration())
        self.yardstick = Yardstick(model, self.source, quick)

    def reference(self) -> Row:
        """The untouched float network."""
        size, file = parameter_bytes(onnx.load(self.source)), self.source.stat().st_size
        return Row(self.model.name, "float", FLOAT, False, size, file, figures=self.yardstick.figures)

    def ours(self, setting: Setting) -> Row:
        row = Row(self.model.name, setting.name, OURS, setting.activations)
        begin = time.monotonic()
        try:
            made = compression.run(self.source, setting.recipe, calibration=self.calibration)
            seconds = time.monotonic() - begin
            proto = made.to_proto()
            artifact = 0
            if self.artifacts:
                artifact = len(tilewright.compile(proto).to_bytes())
            figures = self.yardstick.measure(proto)
        except Exception as error:  # a row with the reason: the others do not depend on it
            return dataclasses.replace(row, problem=reason(error))
        return dataclasses.replace(
            row,
            weight_bytes=stored_bytes(made, proto),
            file_bytes=proto.ByteSize(),
            artifact_bytes=artifact,
            seconds=seconds,
            figures=figures,
        )

    def rival(self, index: int) -> Row:
        rival = RIVALS[index]
        row = Row(self.model.name, rival.name, RIVAL, rival.activations)
        begin = time.monotonic()
        try:
            path = rival.compress(self.model, self.source, self.calibration)
        except RivalError as error:
            return dataclasses.replace(row, problem=str(error))
        seconds = time.monotonic() - begin
        size = parameter_bytes(onnx.load(path))
        try:
            figures = self.yardstick.measure(path)
        except Exception as error:  # onnxruntime has many kinds, and a rival may have written anything
            return dataclasses.replace(row, problem=f"what it wrote does not run: {' '.join(str(error).split())[:200]}")
        file = path.stat().st_size
        return dataclasses.replace(row, weight_bytes=size, file_bytes=file, seconds=seconds, figures=figures)


@dataclass
class Results:
    """All rows and bars so far, and the file that they are kept in."""

    path: Path | None
    rows: list[Row] = field(default_factory=list)
    bars: list[Bar] = field(default_factory=list)

    def judge(self, model: str, problem: str = "") -> None:
        """Adds the bars of a network; ``problem`` is what stopped it."""
        if problem:
            self.bars.append(Bar(f"{model}: every row is measured", problem, False))
        rows = [row for row in self.rows if row.model == model]
        if rows:
            self.bars += bars(rows)
        self.save()

    def save(self) -> None:
        if self.path is not None:
            entries = {name: [dataclasses.asdict(item) for item in getattr(self, name)] for name in ("rows", "bars")}
            self.path.write_text(json.dumps(entries, indent=2) + "\n")


def reason(error: Exception) -> str:
    """An error on one line; what is none of ours with its type."""
    kind = "" if isinstance(error, TilewrightError) else f"{type(error).__name__}: "
    return kind + " ".join(str(error).split())[:300]


def stored_bytes(made: compression.Compression, proto: onnx.ModelProto) -> int:
    """All constants; arrays that the artifact entropy-codes, which ONNX cannot, as they lie there."""
    saved = 0
    for node, unpacking in unpackings(made.model.graph):
        form = unpacking.format
        for role, array in unpacking.arrays(node).items():
            bits = symbol_bits(form.codec, role, array.dtype)
            saved += array.nbytes - len(form.storage.compress(array, bits))
    return parameter_bytes(proto) - saved


def alexnet_2012() -> onnx.ModelProto:
    """Krizhevsky et al. 2012, two towers as groups: 60,954,656 weights, random."""
    g = Graph()
    x = g.pool(g.conv("x", 96, 11, 4, 2, act="Relu"), 3, 2)
    x = g.pool(g.conv(x, 256, 5, 1, 2, groups=2, act="Relu"), 3, 2)
    x = g.conv(x, 384, 3, 1, 1, act="Relu")
    x = g.conv(x, 384, 3, 1, 1, groups=2, act="Relu")
    x = g.pool(g.conv(x, 256, 3, 1, 1, groups=2, act="Relu"), 3, 2)
    x = g.node("Flatten", x, channels=256)
    x = g.dense(g.dense(x, 9216, 4096, "Relu"), 4096, 4096, "Relu")
    return g.model(g.dense(x, 4096, 1000))


def alexnet_bar() -> Bar:
    """Weights before and after ASTC 6x6 in every layer."""
    report = compression.run(alexnet_2012(), {"astc": {"block": "6x6"}}).report
    return alexnet(report.bytes_before, report.bytes)


def heading(model: Model, metrics: Sequence[str]) -> Iterator[str]:
    """What the columns are."""
    yield f"\n{model.name}"
    for index, metric in enumerate(metrics):
        yield f"  ({'abc'[index]}) {metric}"
    columns = " ".join(f"{f'({letter})':>7}" for letter in "abc"[: len(metrics)])
    sizes = " ".join(f"{name:>11}" for name in ("weights", "ONNX", "artifact"))
    yield f"  {'':<22} {'act':<4} {sizes} {'s':>6} {columns} {'agree':>7} {'error':>7}"


def line(row: Row) -> str:
    """A row of the table."""
    if row.figures is None:
        return f"  {row.name:<22} {row.problem}"
    figures = [*row.figures.scores.values(), *row.figures.additional.values()]
    scores = " ".join(f"{score:>7.4f}" for score in figures)
    agreement = "" if row.figures.agreement is None else f"{row.figures.agreement:.4f}"
    sizes = " ".join(f"{size:>11,}" if size else f"{'':>11}" for size in (row.weight_bytes, row.file_bytes))
    artifact = f"{row.artifact_bytes:>11,}" if row.artifact_bytes else f"{'':>11}"
    kind = "int" if row.activations else "f32"
    tail = f"{scores} {agreement:>7} {row.figures.error:>7.4f}"
    return f"  {row.name:<22} {kind:<4} {sizes} {artifact} {row.seconds:>6.1f} {tail}"


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    names, formats = list(MODELS), [setting.name for setting in SETTINGS]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=names, default=names, metavar="NAME", help=", ".join(names))
    parser.add_argument(
        "--formats", nargs="+", choices=formats, default=formats, metavar="NAME", help=", ".join(formats)
    )
    parser.add_argument("--no-rivals", action="store_true", help="our own rows only")
    parser.add_argument("--no-alexnet", action="store_true", help="leave out AlexNet's size")
    parser.add_argument("--quick", action="store_true", help="one figure of accuracy, few inputs for the rest")
    parser.add_argument("--artifacts", action="store_true", help="compile every form for the cpu, for its file's size")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write rows and bars as JSON")
    return parser.parse_args(argv)


def measure(model: Model, args: argparse.Namespace, out: Console, results: Results) -> None:
    """All rows of a network, each printed and kept as soon as it is known."""
    waiting = Console(stderr=True)

    def show(row: Row) -> None:
        results.rows.append(row)
        results.save()
        out.print(line(row), highlight=False, markup=False, style="red" if row.problem else "", soft_wrap=True)

    def status(what: str) -> Any:
        return waiting.status(f"{model.name}: {what} ...") if waiting.is_terminal else nullcontext()

    with status("float"):
        bench = Bench(model, args.quick, args.artifacts)
    figures = bench.yardstick.figures
    for text in heading(model, [*figures.scores, *(f"{metric} (no bar)" for metric in figures.additional)]):
        out.print(text, highlight=False, markup=False, soft_wrap=True)
    show(bench.reference())
    for setting in (setting for setting in SETTINGS if setting.name in args.formats):
        with status(setting.name):
            row = bench.ours(setting)
        show(row)
    for index, rival in enumerate(() if args.no_rivals else RIVALS):
        with status(rival.name):
            row = bench.rival(index)
        show(row)


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code."""
    args = parse(argv)
    logging.disable(logging.WARNING)  # onnxruntime's quantizers log every node
    out = Console()
    results = Results(args.json)
    for name in args.models:
        problem = ""
        try:
            measure(MODELS[name], args, out, results)
        except Exception as error:  # no network may cost the others theirs: no download, an unforeseen mistake
            problem = reason(error)
            out.print(f"  {name}: {problem}", highlight=False, markup=False, style="red", soft_wrap=True)
        results.judge(name, problem)
    if not args.no_alexnet:
        results.bars.append(alexnet_bar())
        results.save()
    out.print()
    for bar in results.bars:
        text = f"{'holds ' if bar.holds else 'MISSED'}  {bar.what}: {bar.figure}"
        out.print(text, highlight=False, markup=False, style="" if bar.holds else "red", soft_wrap=True)
    return 0 if all(bar.holds for bar in results.bars) else 1


if __name__ == "__main__":
    sys.exit(main())
