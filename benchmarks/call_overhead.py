"""What a call costs beside the kernels: an identity over four floats, from C, from Python, and in onnxruntime.

    python -m benchmarks.call_overhead [--rounds 15] [--calls 2000]

Rounds alternate between the contestants; the table has medians over the rounds. It fails nothing: the figures depend on
the machine. The project's bars are 5 microseconds in C and 25 in Python.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort

from tilewright.artifact import Artifact
from tilewright.plan import COPY, Buffer, BufferKind, Launch, Plan
from tilewright.runtime import Session, native

HERE = Path(__file__).parent
SIZE = 4


def identity() -> Artifact:
    """x -> y by one built-in copy."""
    x, y = Buffer("x", BufferKind.INPUT, "float32", (SIZE,)), Buffer("y", BufferKind.OUTPUT, "float32", (SIZE,))
    return Artifact(Plan("cpu", "cpu", (x, y), (0,), (1,), (Launch("copy", COPY, (0, 1)),), (), 0))


def rival() -> ort.InferenceSession:
    """The same in onnxruntime, on one thread."""
    tensors = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [SIZE]) for name in "xy"]
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Identity", ["x"], ["y"])], "identity", tensors[:1], tensors[1:]
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def timed(run: Callable[[], Any], calls: int) -> float:
    """Microseconds of one call."""
    start = time.perf_counter_ns()
    for _ in range(calls):
        run()
    return (time.perf_counter_ns() - start) / calls / 1e3


def from_c(model: Path, folder: Path, calls: int) -> Callable[[], float] | None:
    """A function that gives the microseconds of one tw_run in a C program; None without a C compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        print("skipped C: no compiler (apt-get install gcc)", file=sys.stderr)
        return None
    program, include = folder / "call_overhead", HERE.parent / "runtime" / "include"
    source = HERE / "call_overhead.c"
    subprocess.run([compiler, "-O2", "-I", include, source, "-o", program, "-ldl"], check=True)
    command = [str(program), str(native.library_path()), str(model), "1", str(calls)]
    return lambda: float(subprocess.run(command, capture_output=True, text=True, check=True).stdout) / 1e3


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--calls", type=int, default=2000)
    args = parser.parse_args()
    feeds = {"x": np.zeros(SIZE, np.float32)}
    with tempfile.TemporaryDirectory() as name, Session(identity().to_bytes()) as session:
        model = Path(name) / "identity.tw"
        identity().save(model)
        onnxruntime = rival()
        contestants: dict[str, Callable[[], float]] = {
            "tilewright from Python": lambda: timed(lambda: session.run(feeds), args.calls),
            "onnxruntime from Python": lambda: timed(lambda: onnxruntime.run(None, feeds), args.calls),
        }
        if (run := from_c(model, Path(name), args.calls)) is not None:
            contestants["tilewright from C"] = run
        times: dict[str, list[float]] = {contestant: [] for contestant in contestants}
        for _ in range(args.rounds):
            for contestant, measure in contestants.items():
                times[contestant].append(measure())
    print(f"microseconds a call, {args.rounds} alternating rounds of {args.calls} calls")
    print(f"{'':26}{'median':>8}{'min':>8}{'max':>8}")
    for contestant, values in times.items():
        print(f"{contestant:26}{statistics.median(values):8.2f}{min(values):8.2f}{max(values):8.2f}")


if __name__ == "__main__":
    main()
