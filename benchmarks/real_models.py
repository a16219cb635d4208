"""Compiles real, trained networks and compares them with onnxruntime: outputs, decisions, accuracy on labelled data.

    python -m benchmarks.real_models [--models minilm-l6-v2 magika] [--targets cpu mali] [--json out.json]

Bars, per model and target: every output of every sample within 1e-4 relative L2 of onnxruntime, or no farther from the
float64 result than onnxruntime itself is; the same decisions; the same accuracy within the tolerance that the model's
own file states and explains. Exit code 1 where a bar is missed or a model does not compile. The mali target runs on
whatever OpenCL device is first; PoCL's is this machine's CPU.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

import tilewright
from benchmarks.zoo import ZOO
from benchmarks.zoo.base import Array, Model, Run
from benchmarks.zoo.float64 import double_outputs
from tilewright.errors import TilewrightError
from tilewright.numeric import relative_l2
from tilewright.runtime import Session

TOLERANCE = 1e-4  # relative L2 in fp32: sums in another order, and approximations of exp, through some 50 layers


@dataclass
class Score:
    """One accuracy figure: of onnxruntime, of the artifact, and how far they may be apart."""

    metric: str
    reference: float
    measured: float
    expected: float
    tolerance: float

    @property
    def holds(self) -> bool:
        """Whether the artifact scores as onnxruntime does now, and as it did when the zoo was written."""
        return (
            abs(self.measured - self.reference) <= self.tolerance
            and abs(self.reference - self.expected) <= self.tolerance + 5e-4  # expected is rounded to three digits
        )


@dataclass
class Result:
    """One model on one target.

    Attributes:
        problem: why there is no more than this; the first lines of an error.
        error: relative L2 to onnxruntime of the worst output of any sample.
        doubtful: where that is over TOLERANCE, the distances of artifact and of onnxruntime to the float64 result.
    """

    model: str
    target: str
    device: str = ""
    problem: str = ""
    compile_seconds: float = 0.0
    onnx_bytes: int = 0
    artifact_bytes: int = 0
    launches: int = 0
    error: float = 0.0
    doubtful: list[tuple[float, float]] = field(default_factory=list)
    labels: int = 0
    labels_same: int = 0
    scores: list[Score] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Whether every bar is met."""
        return (
            not self.problem
            and self.error >= 0  # not NaN
            and all(artifact <= onnxruntime for artifact, onnxruntime in self.doubtful)
            and self.labels_same == self.labels
            and all(score.holds for score in self.scores)
        )


class Reference:
    """A model in onnxruntime on one thread; its accuracy is measured once for all targets."""

    def __init__(self, model: Model) -> None:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        self.model = model
        self._session = ort.InferenceSession(str(model.onnx()), options, providers=["CPUExecutionProvider"])
        self._names = [output.name for output in self._session.get_outputs()]
        self._scores: dict[str, float] = {}

    def run(self, feeds: dict[str, Array]) -> dict[str, Array]:
        return dict(zip(self._names, self._session.run(None, feeds), strict=True))

    def score(self, index: int) -> float:
        accuracy = self.model.accuracy[index]
        if accuracy.metric not in self._scores:
            self._scores[accuracy.metric] = accuracy.measure(self.run)
        return self._scores[accuracy.metric]


def measure(reference: Reference, target: str, figures: int | None = None, samples: int | None = None) -> Result:
    """Compiles a model for a target and compares it: at most `samples` samples and `figures` accuracy figures."""
    model = reference.model
    result = Result(model.name, target, onnx_bytes=model.onnx().stat().st_size)
    try:
        start = time.monotonic()
        artifact = tilewright.compile(model.onnx(), target=target, shapes=model.shapes)
        result.compile_seconds = time.monotonic() - start
        data = artifact.to_bytes()
        result.target, result.artifact_bytes = artifact.plan.target, len(data)
        result.launches = len(artifact.plan.launches)
        with Session(data) as session:
            result.device = session.device
            compare(session.run, reference, result, figures, samples)
    except TilewrightError as error:
        result.problem = "\n".join(str(error).splitlines()[:8])
    return result


def compare(run: Run, reference: Reference, result: Result, figures: int | None, samples: int | None) -> None:
    """Fills in how far outputs, decisions and accuracy are from the reference's."""
    model = reference.model
    errors = []
    for feeds in islice(model.samples(), samples):
        got, want = run(feeds), reference.run(feeds)
        worst = float(np.max([relative_l2(got[name], value) for name, value in want.items()]))  # NaN wins
        errors.append(worst)
        if not worst <= TOLERANCE:
            exact = double_outputs(model.onnx(), feeds)
            result.doubtful += [(relative_l2(got[key], x), relative_l2(want[key], x)) for key, x in exact.items()]
        if model.labels is not None:
            same = model.labels(got) == model.labels(want)
            result.labels += same.size
            result.labels_same += int(same.sum())
    result.error = float(np.max(errors))
    for index, accuracy in enumerate(model.accuracy[:figures]):
        scores = reference.score(index), accuracy.measure(run)
        result.scores.append(Score(accuracy.metric, *scores, accuracy.expected, accuracy.tolerance))


def agreement(results: Sequence[Result]) -> Table:
    """A row a model and target: sizes, and how far outputs and decisions are from onnxruntime's."""
    out = Table(title="Real models against onnxruntime")
    for heading in ("model", "target", "compiled", "artifact", "relative L2", "same decisions"):
        out.add_column(heading, justify="left" if heading in ("model", "target") else "right", no_wrap=True)
    for item in results:
        if item.problem:
            out.add_row(item.model, item.target, "failed", style="red")
            continue
        row = [f"{item.compile_seconds:.1f} s", f"{item.artifact_bytes / 1e6:.2f} MB", f"{item.error:.1e}"]
        row += [f"{item.labels_same}/{item.labels}" if item.labels else "-"]
        out.add_row(item.model, item.target, *row, style="" if item.holds else "red")
    return out


def accuracies(results: Sequence[Result]) -> Table:
    """A row a model, target and metric."""
    out = Table("model", "target", "metric", title="Accuracy")
    out.add_column("artifact", justify="right")
    out.add_column("onnxruntime", justify="right")
    for item in results:
        for score in item.scores:
            row = (item.model, item.target, score.metric, f"{score.measured:.4f}", f"{score.reference:.4f}")
            out.add_row(*row, style="" if score.holds else "red")
    return out


def notes(item: Result) -> Iterator[str]:
    """What a row of the tables cannot say."""
    if item.problem:
        yield f"{item.model} on {item.target}: {item.problem}"
    for artifact, onnxruntime in item.doubtful:
        yield (
            f"{item.model} on {item.target}: a sample is off by over {TOLERANCE:.0e}; to the float64 result it is "
            f"{artifact:.1e} from the artifact, {onnxruntime:.1e} from onnxruntime"
        )


@contextmanager
def quiet_stderr(on: bool) -> Iterator[None]:
    """Drops what native code prints (PoCL reports every compilation), except where -v asks for it."""
    if not on:
        yield
        return
    sys.stderr.flush()
    saved, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(null)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    names = [model.name for model in ZOO]
    parser = argparse.ArgumentParser(description="Compare real models with onnxruntime.")
    parser.add_argument("--models", nargs="+", choices=names, default=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--targets", nargs="+", default=["cpu", "mali"], metavar="TARGET")
    parser.add_argument("--no-accuracy", action="store_true", help="compare outputs only")
    parser.add_argument("--full", action="store_true", help="every accuracy figure on every target, not on cpu only")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results as JSON")
    parser.add_argument("-v", "--verbose", action="store_true", help="let drivers print what they like")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code."""
    args = parse(argv)
    out, err = Console(width=None if sys.stdout.isatty() else 110), Console(stderr=True)
    results: list[Result] = []
    for model in (model for model in ZOO if model.name in args.models):
        reference = Reference(model)
        for target in args.targets:
            figures = 0 if args.no_accuracy else None if args.full or target.startswith("cpu") else 1
            with quiet_stderr(not args.verbose):
                result = measure(reference, target, figures)
            results.append(result)
            outcome = "holds" if result.holds else "MISSED"
            err.print(f"{model.name} on {target}: {outcome}, error {result.error:.1e}", markup=False, highlight=False)
    out.print(agreement(results))
    if any(item.scores for item in results):
        out.print(accuracies(results))
    for note in (note for item in results for note in notes(item)):
        out.print(note, markup=False, highlight=False)
    if args.json:
        rows: list[dict[str, Any]] = [dataclasses.asdict(item) | {"holds": item.holds} for item in results]
        args.json.write_text(json.dumps(rows, indent=2) + "\n")
    return 0 if all(item.holds for item in results) else 1


if __name__ == "__main__":
    sys.exit(main())
