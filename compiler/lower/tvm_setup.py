"""TVM as this project uses it: version check, and the one slow thing in TVMScript made fast."""

from __future__ import annotations

import importlib.metadata
import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from tilewright.errors import ToolError

PINS = {"apache-tvm": "0.27.0.post1", "apache-tvm-ffi": "0.1.14.post1"}


def check_versions() -> None:
    """Refuses a TVM that was not tested: other ffi releases crash inside layout conversion.

    Raises:
        ToolError: a pinned package is missing or of another version.
    """
    wrong = []
    for package, wanted in PINS.items():
        try:
            found = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found = "none"
        if found != wanted:
            wrong.append(f"{package}=={wanted} (found {found})")
    if wrong:
        raise ToolError(
            f"Tilewright needs {', '.join(wrong)}; run: pip install {' '.join(f'{p}=={v}' for p, v in PINS.items())}"
        )


class _Frame(tuple[Any, ...]):
    """The fields of inspect.FrameInfo that TVMScript reads, without looking for source lines."""

    frame = property(lambda self: self[0])
    filename = property(lambda self: self[1])
    lineno = property(lambda self: self[2])
    function = property(lambda self: self[3])


def _stack(context: int = 1) -> list[Any]:
    frame, frames = sys._getframe(1), []
    while frame is not None:
        frames.append(_Frame((frame, frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name, None, 0)))
        frame = frame.f_back  # type: ignore[assignment]
    return frames


@contextmanager
def fast_tvmscript() -> Iterator[None]:
    """Parsing a TVMScript function calls inspect.stack(), 60-200 ms each time; inside this context, microseconds."""
    with mock.patch.object(inspect, "stack", _stack):
        yield
