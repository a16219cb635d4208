"""AlexNet's FC7 as OpenCL on the first device: dense and compressed, beside CLBlast.

    python -m benchmarks.opencl [--layer FC7] [--batch 1] [--form "fp32 90%"] [--target mali-pocl] [--rounds 9]
                                [--json out.json]

Everything runs in one process in turns, on all threads that the device has (with PoCL: the cores of this machine, or
POCL_MAX_PTHREAD_COUNT). Times are of a whole call with its copies of activations, except that CLBlast is spared the
copies; "reading" only reads the dense weights, with a thread a core, so that nothing dense is faster. Ratios are
medians over the rounds of CPU time by that of our dense fp32 in the same round, since both keep all threads busy and
CPU time hardly feels other work on the machine; wall time is shown too. With PoCL the figures say how good the code is
for a CPU; they say nothing of a GPU. Exit code 1 where a bar is missed.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from rich.table import Table

from benchmarks.fc import SIZES, layer
from benchmarks.layer_table import Row, console, machine
from benchmarks.layers import Form, build, errors
from benchmarks.rivals.base import RivalError
from benchmarks.rivals.runtimes.clblast import RUNTIMES
from benchmarks.timing import Loop, ReadOnly, has_compiler, interleave, repeated
from tilewright.numeric import relative_l2
from tilewright.runtime import Session

RIVAL = "clblast"
READING = "reading"
DENSE = "fp32"
FORMS = (
    Form(DENSE),
    Form("fp32 90%", (16, 1), 0.1),
    Form("fp32 90% 4x4", (4, 4), 0.1),
    Form("int8", weights="int8"),
    Form("int4", weights="int4"),
    Form("int4 g32", weights="int4(group=32)"),
    Form("int8 90%", (16, 4), 0.1, "int8"),
    Form("int4 90%", (16, 4), 0.1, "int4"),
)
BARS = {"fp32 90%": 1 / 6, "int4": 1.0, RIVAL: 3.0}
"""Of FC7 at batch 1, by our dense fp32: at most, and for the rival at least."""


def measure(name: str, batch: int, forms: Sequence[Form], target: str, rounds: int) -> list[Row]:
    """The rows of one layer, by our dense fp32."""
    shape = layer(name, batch)
    x = shape.sample()
    loops: dict[str, Loop] = {}
    facts: dict[str, tuple[float, tuple[str, ...]]] = {}
    with TemporaryDirectory() as folder, ExitStack() as stack:
        for form in forms:
            made = build(shape, form, target, Path(folder))
            session = stack.enter_context(Session(made.path))
            facts[form.name] = errors(shape, made, session.run({"x": x})["y"])[1], made.kernels
            loops[form.name] = repeated(lambda session=session: session.run({"x": x}))  # type: ignore[misc]
        if has_compiler():
            facts[READING] = 0.0, ()
            loops[READING] = _reading(4 * shape.matrix().size, stack)
        try:
            rival = RUNTIMES[RIVAL](shape)
            wanted = x @ rival.matrix.T + shape.bias()
            facts[RIVAL] = relative_l2(np.asarray(rival.result()), wanted), ()
            loops[RIVAL] = repeated(rival.run)
        except RivalError as error:
            print(f"skipped {RIVAL}: {error}", file=sys.stderr)
        times = interleave(loops, rounds, seconds=0.1)
    bars = BARS if (name, batch) == ("FC7", 1) else {}
    return [
        Row(
            *(name, batch, form, times[form].median_us, *times[form].over(times[DENSE]), error),
            kernels=kernels,
            bar=bars.get(form),
            at_least=form == RIVAL,
        )
        for form, (error, kernels) in facts.items()
    ]


def _reading(nbytes: int, stack: ExitStack) -> Loop:
    """A contestant that reads memory with all cores."""
    cores = len(os.sched_getaffinity(0))
    parts = [ReadOnly(nbytes // cores) for _ in range(cores)]
    pool = stack.enter_context(ThreadPoolExecutor(cores))
    return repeated(lambda: list(pool.map(lambda part: part(1), parts)))


def table(rows: Sequence[Row]) -> Table:
    """The rows as the terminal shows them."""
    result = Table("layer", "batch", "form")
    for heading in ("us", "cpu ratio", "wall", "bar", "", "error"):
        result.add_column(heading, justify="right")
    for row in rows:
        verdict = "" if row.bar is None else "held" if row.holds else "MISSED"
        bar = "" if row.bar is None else f"{'>=' if row.at_least else '<='} {row.bar:.3g}"
        numbers = (f"{row.us:.0f}", f"{row.cpu:.3f}", f"{row.wall:.3f}", bar, verdict, f"{row.error:.1e}")
        result.add_row(row.layer, str(row.batch), row.form, *numbers)
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [form.name for form in FORMS]
    parser.add_argument("--layer", nargs="+", choices=SIZES, default=["FC7"])
    parser.add_argument("--batch", nargs="+", type=int, default=[1])
    parser.add_argument("--form", nargs="+", choices=names, default=names, help=f"{DENSE} always runs")
    parser.add_argument("--target", default="mali-pocl", help="an OpenCL target")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args(argv)
    forms = [form for form in FORMS if form.name in {DENSE, *args.form}]
    out, _ = console()
    rows = []
    for name in args.layer:
        for batch in args.batch:
            found = measure(name, batch, forms, args.target, args.rounds)
            out.print(table(found))
            rows += found
    if args.json:
        entries = [dataclasses.asdict(row) | {"holds": row.holds} for row in rows]
        args.json.write_text(json.dumps({**machine(), "rows": entries}, indent=2) + "\n")
    return 0 if all(row.holds for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
