"""Run an artifact on given inputs."""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console

from tilewright.errors import DataError, UsageError
from tilewright.files import replace_file
from tilewright.runtime import Session

SHOWN = 10  # elements of an output on the terminal; -o FILE has all

Tensors = dict[str, npt.NDArray[Any]]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument("artifact", type=Path)
    parser.add_argument(
        "--input",
        action="append",
        default=[],
        metavar="[NAME=]FILE",
        help=".npy, or .npz with arrays named as inputs",
    )
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help=".npz for the outputs")
    parser.add_argument("--selftest", action="store_true", help="run the artifact's own inputs and check the outputs")
    add_session_options(parser)


def add_session_options(parser: argparse.ArgumentParser) -> None:
    """``--device`` and ``--threads``."""
    parser.add_argument("--device", help="where to run, as 'tilewright targets' lists it under 'this machine'")
    parser.add_argument("--threads", type=int, default=1, help="cpu threads (default: 1)")


def execute(args: argparse.Namespace, out: Console, err: Console) -> int:
    """Does the work."""
    if args.selftest == bool(args.input):
        raise UsageError("give either --input or --selftest")
    with Session(args.artifact, device=args.device, threads=args.threads) as session:
        if args.selftest:
            return _selftest(session, args.json, out)
        outputs = session.run(read_inputs(args.input, [tensor.name for tensor in session.inputs]))
    if args.output:
        write_npz(args.output, outputs)
    if args.json:
        print(json.dumps({name: _describe(value) for name, value in outputs.items()}, indent=2))
        return 0
    for name, value in outputs.items():
        out.print(_line(name, value), markup=False, highlight=False)
    if args.output:
        out.print(f"written to {args.output}", markup=False)
    return 0


def read_inputs(options: Sequence[str], names: Sequence[str]) -> Tensors:
    """Reads ``[NAME=]FILE`` options.

    Raises:
        DataError: a file cannot be read, or it is not clear which input it is for.
    """
    tensors: Tensors = {}
    for option in options:
        name, _, file = option.rpartition("=")
        path = Path(option) if Path(option).exists() else Path(file)
        if path == Path(option):
            name = ""
        try:
            loaded = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise DataError(f"--input {option}: not a readable .npy or .npz file: {error}") from error
        if isinstance(loaded, np.lib.npyio.NpzFile):
            with loaded:
                tensors.update({key: loaded[key] for key in loaded.files})
        elif name or len(names) == 1:
            tensors[name or names[0]] = loaded
        else:
            raise DataError(f"--input {option}: the model has inputs {', '.join(names)}; write NAME={option}")
    return tensors


def write_npz(path: Path, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Writes whole or not at all.

    Raises:
        TilewrightError: the file cannot be written, or something other than a file is there.
    """
    data = io.BytesIO()
    np.savez(data, **arrays)  # type: ignore[arg-type]
    replace_file(path, [data.getbuffer()], "the outputs")


def _line(name: str, value: npt.NDArray[Any]) -> str:
    shape = "x".join(map(str, value.shape)) or "scalar"
    head = f"{name}: {value.dtype} {shape}"
    if not value.size:
        return head
    some = ", ".join(f"{item:.6g}" for item in value.ravel()[:SHOWN])
    more = ", ..." if value.size > SHOWN else ""
    return f"{head}, min {value.min():.6g}, max {value.max():.6g}: {some}{more}"


def _describe(value: npt.NDArray[Any]) -> dict[str, Any]:
    described: dict[str, Any] = {"dtype": str(value.dtype), "shape": list(value.shape)}
    if value.size <= 1000:
        described["values"] = value.tolist()
    return described


def _selftest(session: Session, as_json: bool, out: Console) -> int:
    error, tolerance = session.selftest()
    if as_json:
        print(json.dumps({"selftest": {"error": error, "tolerance": tolerance}}, indent=2))
    else:
        out.print(f"self-test passed: relative L2 {error:.1e}, allowed {tolerance:.0e}", markup=False)
    return 0
