"""Phases of a long command: a bar on a terminal, silence in a pipe, a line each with ``-v``, files with ``--dump``."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from tilewright.errors import UsageError

# File name endings of what each phase leaves behind; a phase that is not listed is not dumped.
_ENDINGS = {
    "normalise": "onnx.txt",
    "import": "relax.py",
    "prepare": "relax.py",
    "fuse": "relax.py",
    "schedule": "tir.py",
    "codegen": "source.txt",
    "plan": "plan.txt",
}


class Phases:
    """Receives finished phases; pass its ``observe`` to the driver."""

    def __init__(self, console: Console | None = None, verbose: bool = False, dump: Path | None = None) -> None:
        self._console = console
        self._verbose = verbose
        self._dump = dump
        self._started = time.perf_counter()
        self._dumped = 0
        self._progress: Progress | None = None
        self.seconds: dict[str, float] = {}
        if dump is not None:
            try:
                dump.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise UsageError(f"--dump {dump}: {error.strerror}") from error

    @contextmanager
    def show(self, title: str, total: int) -> Iterator[None]:
        """Draws a progress bar of ``total`` phases while inside, where the console is a terminal."""
        if self._console is None or not self._console.is_terminal:
            yield
            return
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self._console, transient=True) as progress:
            self._progress = progress
            self._task = progress.add_task(title, total=total)
            self._title = title
            try:
                yield
            finally:
                self._progress = None

    def observe(self, phase: str, text: Callable[[], str]) -> None:
        """A phase is done; ``text()`` renders its result for ``--dump``."""
        now = time.perf_counter()
        self.seconds[phase] = now - self._started
        if self._progress is not None:
            self._progress.update(self._task, advance=1, description=f"{self._title}: {phase} done")
        if self._verbose and self._console is not None:
            self._console.print(f"{phase:>10}  {self.seconds[phase]:6.2f} s", highlight=False)
        if self._dump is not None and phase in _ENDINGS:
            (self._dump / f"{self._dumped:02d}-{phase}.{_ENDINGS[phase]}").write_text(text(), encoding="utf-8")
            self._dumped += 1
        self._started = time.perf_counter()  # rendering and writing is not the phase's time
