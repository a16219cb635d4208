"""Time an artifact, alternating with onnxruntime where --against names the model."""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tilewright.commands.run import add_session_options
from tilewright.errors import UsageError
from tilewright.numeric import sample_inputs
from tilewright.runtime import Session

MIN_SECONDS = 0.02  # one timing repeats the call until it lasts this long, so that the clock's resolution is no matter


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument("artifact", type=Path)
    parser.add_argument("--against", type=Path, metavar="ONNX", help="model to time in onnxruntime in the same rounds")
    parser.add_argument("--rounds", type=int, default=25, help="at least 15 for figures to quote (default: 25)")
    parser.add_argument("--trace", type=Path, metavar="FILE", help="write one run's kernels as a Chrome trace")
    add_session_options(parser)


def execute(args: argparse.Namespace, out: Console, err: Console) -> int:
    """Does the work."""

    if args.rounds < 1:
        raise UsageError(f"--rounds {args.rounds}: must be at least 1")
    if args.against is not None and not args.against.is_file():
        raise UsageError(f"no such file: {args.against}")
    with Session(args.artifact, device=args.device, threads=args.threads) as session:
        feeds = sample_inputs(session.inputs)
        runs: dict[str, Callable[[], Any]] = {"tilewright": lambda: session.run(feeds)}
        if args.against is not None:
            rival = _onnxruntime(args.against, args.threads)
            runs["onnxruntime"] = lambda: rival.run(None, feeds)
        target, device = session.target, session.device
        milliseconds = interleave(runs, args.rounds)
        if args.trace is not None:
            session.enable_profile()
            session.run(feeds)
            session.trace(args.trace)
    report: dict[str, Any] = {
        "target": target,
        "device": device,
        "rounds": args.rounds,
        "threads": args.threads,
        "ms": {
            name: {"median": statistics.median(ms), "min": min(ms), "max": max(ms)} for name, ms in milliseconds.items()
        },
    }
    if args.against is not None:
        report["ratio"] = report["ms"]["tilewright"]["median"] / report["ms"]["onnxruntime"]["median"]
    if args.json:
        print(json.dumps(report, indent=2))
        return 0
    table = Table("", "median ms", "min", "max")
    for name, ms in report["ms"].items():
        table.add_row(name, *(f"{ms[key]:.3f}" for key in ("median", "min", "max")))
    out.print(table)
    out.print(f"tilewright: {target} on {device}", markup=False, highlight=False)
    if "ratio" in report:
        out.print(
            f"tilewright / onnxruntime = {report['ratio']:.2f}, {args.rounds} alternating rounds", highlight=False
        )
    if args.trace is not None:
        out.print(f"trace written to {args.trace}", markup=False)
    return 0


def interleave(runs: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Times callables in turns (A B A B ...), so that a slow spell of the machine hits all of them.

    Returns:
        Milliseconds a call, one figure a round.
    """
    repeats = {}
    for name, run in runs.items():
        run()  # warm caches and lazily compiled kernels
        start = time.perf_counter()
        run()
        repeats[name] = max(1, round(MIN_SECONDS / max(time.perf_counter() - start, 1e-6)))
    milliseconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            start = time.perf_counter()
            for _ in range(repeats[name]):
                run()
            milliseconds[name].append((time.perf_counter() - start) / repeats[name] * 1e3)
    return milliseconds


def _onnxruntime(model: Path, threads: int) -> Any:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
