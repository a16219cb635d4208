"""Options that several commands share."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from tilewright.errors import UsageError


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """The model, its shapes, calibration data, and what to leave behind."""
    parser.add_argument("model", type=Path, help="ONNX file")
    parser.add_argument("--shape", action="append", default=[], metavar="NAME=1x3x224x224", help="fix an input's shape")
    parser.add_argument(
        "--calib", type=Path, metavar="FILE", help="calibration samples: an .npz by input name, or a folder of samples"
    )
    parser.add_argument("--report", type=Path, metavar="FILE", help="write the compression's report as an HTML page")
    parser.add_argument("--dump", type=Path, metavar="DIR", help="write what every phase leaves behind as text")


def check_paths(model: Path, *goals: Path | None) -> None:
    """
    Raises:
        UsageError: no such model, or a folder to write to is missing.
    """
    if not model.is_file():
        raise UsageError(f"no such file: {model}")
    for goal in goals:
        if goal is not None and not goal.parent.is_dir():
            raise UsageError(f"no such folder: {goal.parent}")


def parse_shapes(options: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """``["x=1x3x224x224"]`` as a mapping.

    Raises:
        UsageError: an option is not NAME=DIMxDIMx...
    """
    shapes = {}
    for option in options:
        name, _, text = option.rpartition("=")
        dims = text.split("x")
        if not name or not all(dim.isdecimal() for dim in dims):
            raise UsageError(f"--shape {option}: write NAME=DIMxDIMx..., for example x=1x3x224x224")
        shapes[name] = tuple(int(dim) for dim in dims)
    return shapes
