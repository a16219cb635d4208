"""ONNX's own operator tests through the whole compiler: compile for a target, run, compare at the tests' tolerances.

    python benchmarks/conformance.py                  # everything, as a table
    python benchmarks/conformance.py --match resize   # a part, with each test's outcome
    python benchmarks/conformance.py --json out.json

Each test ends as *passed*, *refused* (an error of ours that says why), *wrong* (another result than ONNX's) or *broken*
(any other exception, a crash of the process, or no end within the time limit). Only the first two are acceptable.

Inputs that a static compiler must know (shapes, axes, scales; ``PARAMETERS`` lists them) are bound to constants.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import multiprocessing
import multiprocessing.connection
import re
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

OPSETS = range(7, 27)
TIME_LIMIT = 120.0  # seconds a test, on a busy machine

# Inputs, by position, that parametrise an operator rather than being data: known at compile time in real models.
_REDUCTIONS = ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare")
PARAMETERS: Mapping[str, tuple[int, ...]] = {
    **{f"Reduce{name}": (1,) for name in _REDUCTIONS},
    "AffineGrid": (1,),
    "BlackmanWindow": (0,),
    "CenterCropPad": (1,),
    "Col2Im": (1, 2),
    "Compress": (1,),
    "ConstantOfShape": (0,),
    "CumProd": (1,),
    "CumSum": (1,),
    "DFT": (1, 2),
    "Dropout": (1, 2),
    "Expand": (1,),
    "HammingWindow": (0,),
    "HannWindow": (0,),
    "If": (0,),
    "MaxUnpool": (2,),
    "MelWeightMatrix": (0, 1, 2, 3, 4),
    "NonMaxSuppression": (2, 3, 4),
    "OneHot": (1,),
    "Pad": (1, 3),
    "Range": (0, 1, 2),
    "Reshape": (1,),
    "Resize": (1, 2, 3),
    "STFT": (1, 3),
    "Slice": (1, 2, 3, 4),
    "Split": (1,),
    "SplitToSequence": (1,),
    "Squeeze": (1,),
    "Tile": (1,),
    "TopK": (1,),
    "Trilu": (1,),
    "Unsqueeze": (1,),
    "Upsample": (1,),
}

RECURRENT = frozenset({"RNN", "GRU", "LSTM"})
QUANTIZED = frozenset(
    {
        "ConvInteger",
        "DequantizeLinear",
        "DynamicQuantizeLinear",
        "MatMulInteger",
        "QLinearConv",
        "QLinearMatMul",
        "QuantizeLinear",
    }
)
ATTENTION = frozenset(
    {"Attention", "CausalConvWithState", "FlexAttention", "LinearAttention", "RotaryEmbedding", "TensorScatter"}
)
# Not what networks compute at inference, or not tensors of numbers
OUTSIDE = frozenset(
    {
        "Adagrad",
        "Adam",
        "Bernoulli",
        "BitCast",
        "BlackmanWindow",
        "DFT",
        "Det",
        "HammingWindow",
        "HannWindow",
        "If",
        "ImageDecoder",
        "Loop",
        "MelWeightMatrix",
        "Momentum",
        "NegativeLogLikelihoodLoss",
        "NonMaxSuppression",
        "OptionalGetElement",
        "OptionalHasElement",
        "RegexFullMatch",
        "STFT",
        "Scan",
        "SoftmaxCrossEntropyLoss",
        "TfIdfVectorizer",
        "Unique",
    }
)
GROUPS = ("core", "core, other types", "quantized", "recurrent", "attention", "expanded", "other")
# Least share of passed tests in opsets 7 to 26. They come from the counts 610 of 632, 85 of 92, 12 of 15 and 15 of 18.
BARS: Mapping[str, float] = {
    "core": 610 / 632,
    "core, other types": 85 / 92,
    "quantized": 12 / 15,
    "recurrent": 15 / 18,
}
_COMMON = frozenset({"FLOAT", "INT32", "INT64", "BOOL"})
_OTHER_TYPES = _COMMON | {"FLOAT16", "DOUBLE", "INT8", "INT16", "UINT8", "UINT16", "UINT32", "UINT64"}
_QUANTIZED_TYPES = _COMMON | {"INT8", "UINT8"}


@dataclasses.dataclass(frozen=True)
class Case:
    """One of ONNX's tests, with its parameters bound."""

    name: str
    operator: str
    opset: int
    group: str
    model: onnx.ModelProto
    data: Sequence[tuple[Mapping[str, Any], Sequence[Any]]]  # inputs that are left by name, and expected outputs
    rtol: float
    atol: float


@dataclasses.dataclass(frozen=True)
class Outcome:
    name: str
    operator: str
    opset: int
    group: str
    status: str  # passed, refused, wrong, broken
    detail: str = ""
    seconds: float = 0.0


def collect(match: str = "") -> list[Case]:
    """ONNX's node tests, generated in memory."""
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tests = collect_testcases(None)
    by_name = {test.name: test for test in tests}
    return [_case(test, by_name) for test in tests if re.search(match, test.name)]


def _case(test: Any, by_name: Mapping[str, Any]) -> Case:
    versions = {entry.domain: entry.version for entry in test.model.opset_import}
    plain = by_name.get(re.sub(r"_expanded(_ver\d+)?$", "", test.name), test)
    operator = plain.model.graph.node[0].op_type
    model, data = _bind(
        test, [name for i in PARAMETERS.get(operator, ()) for name in plain.model.graph.node[0].input[i : i + 1]]
    )
    return Case(test.name, operator, versions.get("", 0), _group(test, operator), model, data, test.rtol, test.atol)


def _group(test: Any, operator: str) -> str:
    if "_expanded" in test.name:
        return "expanded"
    if any(entry.domain for entry in test.model.opset_import) or len(test.model.graph.node) != 1 or operator in OUTSIDE:
        return "other"
    values = [*test.model.graph.input, *test.model.graph.output]
    if not all(value.type.HasField("tensor_type") for value in values):
        return "other"
    types = {onnx.TensorProto.DataType.Name(value.type.tensor_type.elem_type) for value in values}
    if operator in ATTENTION:
        return "attention"
    if operator in RECURRENT:
        return "recurrent"
    if operator in QUANTIZED:
        return "quantized" if types <= _QUANTIZED_TYPES else "other"
    if types <= _COMMON:
        return "core"
    return "core, other types" if types <= _OTHER_TYPES else "other"


def _bind(test: Any, names: Sequence[str]) -> tuple[onnx.ModelProto, list[tuple[dict[str, Any], list[Any]]]]:
    """Turns the named inputs into initializers. Tests with several data sets share one value of them."""
    model = onnx.ModelProto()
    model.CopyFrom(test.model)
    order = [value.name for value in model.graph.input]
    feeds = [dict(zip(order, map(_plain, inputs), strict=True)) for inputs, _ in test.data_sets]
    for name in filter(None, names):
        if name in order and isinstance(feeds[0][name], np.ndarray | np.generic):
            array = np.asarray(feeds[0][name])
            model.graph.initializer.append(numpy_helper.from_array(array, name))
            position = next(i for i, value in enumerate(model.graph.input) if value.name == name)
            del model.graph.input[position]
            for feed in feeds:
                del feed[name]
    return model, [(feed, list(map(_plain, outputs))) for feed, (_, outputs) in zip(feeds, test.data_sets, strict=True)]


def _plain(value: Any) -> Any:
    """Some tests give TensorProtos."""
    return numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value


def run_case(case: Case, target: str = "cpu") -> Outcome:
    """Compiles and runs one test in this process."""
    from tilewright.errors import TilewrightError

    started = time.perf_counter()

    def outcome(status: str, detail: object = "") -> Outcome:
        spent = time.perf_counter() - started
        return Outcome(case.name, case.operator, case.opset, case.group, status, " ".join(str(detail).split()), spent)

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for feed, expected in case.data:
                _compare(expected, _execute(case, feed, target), case)
    except TilewrightError as error:
        return outcome("refused", error)
    except AssertionError as error:
        return outcome("wrong", error)
    except Exception as error:
        return outcome("broken", f"{type(error).__name__}: {error}")
    return outcome("passed")


def _execute(case: Case, feed: Mapping[str, Any], target: str) -> list[Any]:
    import tilewright
    from tilewright.runtime import Session

    shapes = {
        value.name: np.shape(feed[value.name])
        for value in case.model.graph.input
        if value.type.HasField("tensor_type") and isinstance(feed[value.name], np.ndarray | np.generic)
    }
    artifact = tilewright.compile(case.model, target=target, shapes=shapes)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "test.tw"
        artifact.save(path)
        results = Session(path, allow_nan=True).run({name: np.asarray(value) for name, value in feed.items()})
    return [results[value.name] for value in case.model.graph.output]


def _compare(expected: Sequence[Any], actual: Sequence[Any], case: Case) -> None:
    """As onnx's own backend runner compares."""
    assert len(expected) == len(actual), f"{len(actual)} outputs instead of {len(expected)}"
    for wanted, got in zip(expected, actual, strict=True):
        wanted = np.asarray(wanted)
        assert wanted.dtype == got.dtype, f"{got.dtype} instead of {wanted.dtype}"
        assert wanted.shape == got.shape, f"shape {got.shape} instead of {wanted.shape}"
        np.testing.assert_allclose(got, wanted, rtol=case.rtol, atol=case.atol)


def run_all(cases: Sequence[Case], target: str = "cpu", jobs: int = 1) -> Iterator[Outcome]:
    """Runs tests in worker processes, so that a crash costs one test and not the run."""
    context = multiprocessing.get_context("fork")
    queues = [list(cases[i::jobs]) for i in range(jobs)]
    workers = [_Worker(context, queue, target) for queue in queues if queue]
    while workers:
        ready = multiprocessing.connection.wait([worker.receiver for worker in workers], timeout=1.0)
        for worker in list(workers):
            if worker.receiver in ready or worker.late():
                yield from worker.collect()
                if not worker.queue:
                    workers.remove(worker)


class _Worker:
    """A process that runs a queue of tests, and is started again where it left off when it dies."""

    def __init__(self, context: Any, queue: list[Case], target: str) -> None:
        self.context, self.queue, self.target = context, queue, target
        self._start()

    def _start(self) -> None:
        self.receiver, sender = self.context.Pipe(duplex=False)
        self.process = self.context.Process(target=_work, args=(sender, list(self.queue), self.target), daemon=True)
        self.process.start()
        sender.close()
        self.since = time.monotonic()

    def late(self) -> bool:
        return time.monotonic() - self.since > TIME_LIMIT

    def collect(self) -> Iterable[Outcome]:
        try:
            if not self.receiver.poll():  # late
                raise EOFError
            result = self.receiver.recv()
        except EOFError:
            late = self.late()
            self.process.kill()
            self.process.join()
            case = self.queue.pop(0)
            detail = f"no end within {TIME_LIMIT:.0f} s" if late else f"the process died ({self.process.exitcode})"
            if self.queue:
                self._start()
            return [Outcome(case.name, case.operator, case.opset, case.group, "broken", detail)]
        self.queue.pop(0)
        self.since = time.monotonic()
        return [result]


def _work(sender: Any, cases: Sequence[Case], target: str) -> None:
    for case in cases:
        sender.send(run_case(case, target))


def table(outcomes: Sequence[Outcome]) -> str:
    """Outcomes per group, for the opsets that the compiler takes and for all of them."""
    lines = [f"{'group':<20} {'opset 7-26':>14} {'bar':>6} {'refused':>8} {'wrong':>6} {'broken':>7} {'any opset':>14}"]
    for group in (*GROUPS, "all"):
        every = [o for o in outcomes if group in (o.group, "all")]
        inside = [o for o in every if o.opset in OPSETS]
        if every:
            count = Counter(o.status for o in inside)
            passed = sum(o.status == "passed" for o in every)
            lines.append(
                f"{group:<20} {count['passed']:>6} of {len(inside):>4} "
                f"{f'{BARS[group]:.1%}' if group in BARS else '':>6} {count['refused']:>8} {count['wrong']:>6} "
                f"{count['broken']:>7} {passed:>6} of {len(every):>4}"
            )
    return "\n".join(lines)


def missed(outcomes: Sequence[Outcome]) -> list[str]:
    """What a whole run must not show: groups under their bar, wrong results, and anything broken."""
    complaints = [f"{o.name} is {o.status}: {o.detail}" for o in outcomes if o.status in ("wrong", "broken")]
    for group, bar in BARS.items():
        inside = [o for o in outcomes if o.group == group and o.opset in OPSETS]
        passed = sum(o.status == "passed" for o in inside)
        if passed < bar * len(inside):
            complaints.append(f"{group}: {passed} of {len(inside)} passed, {bar:.1%} are needed")
    return complaints


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--match", default="", help="regular expression on test names")
    parser.add_argument("--group", action="append", choices=GROUPS, help="only this group (repeatable)")
    parser.add_argument("--target", default="cpu")
    parser.add_argument("--jobs", type=int, default=1, help="worker processes")
    parser.add_argument("--json", type=Path, help="write every outcome here")
    parser.add_argument("-v", "--verbose", action="store_true", help="list every test, not only wrong and broken ones")
    options = parser.parse_args(arguments)
    cases = [case for case in collect(options.match) if not options.group or case.group in options.group]
    outcomes = []
    for outcome in run_all(cases, options.target, options.jobs):
        outcomes.append(outcome)
        if options.verbose or outcome.status in ("wrong", "broken"):
            print(f"{outcome.status:<8} {outcome.name} ({outcome.group}) {outcome.detail[:400]}", flush=True)
    print(table(outcomes))
    if options.json:
        options.json.write_text(json.dumps([dataclasses.asdict(o) for o in outcomes], indent=1))
    complaints = missed(outcomes)
    print(*complaints, sep="\n", end="\n" if complaints else "")
    return int(bool(complaints))


if __name__ == "__main__":
    sys.exit(main())
