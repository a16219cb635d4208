"""What a rival at speed is: a program that runs a single layer, set up as its own documentation advises."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks.layers import Array, Layer
from benchmarks.rivals.base import RivalError

DENSITY = 0.1
"""Of the rivals that skip zeros."""


@dataclass(frozen=True)
class Ready:
    """A layer, ready to run on one thread.

    Attributes:
        run: computes ``layer.sample()``'s result; this is what is timed.
        matrix: the weights, before the rival quantized them, as ``Layer.matrix`` gives them.
        result: runs and gives float32 of ``layer.y``.
    """

    run: Callable[[], Any]
    matrix: Array
    result: Callable[[], Any]


Runtime = Callable[[Layer], Ready]


def imported(module: str, package: str) -> Any:
    """A module of a rival.

    Raises:
        RivalError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise RivalError(f"pip install {package} ({error})") from None
