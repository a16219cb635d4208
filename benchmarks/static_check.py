"""What static checks of generated kernels share: models by devices by precisions, a row each, and an exit code.

Models are those of the zoo, ONNX files, or, with ``--layers``, small compressed layers (compressed_layers.py).

A check compiles every model for every device and precision, has another tool examine the kernels, and fills in a row.
Rows are printed, and saved, as they are done: the whole zoo takes long.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from benchmarks import compressed_layers
from benchmarks.zoo import ZOO
from tilewright.errors import TilewrightError

PRECISIONS = ("fp32", "fp16")
Shapes = dict[str, tuple[int, ...]]
Model = tuple[str, Path, Shapes]


@dataclass
class Row:
    """One model on one device in one precision; a check adds its figures.

    Attributes:
        error: why there are no figures, or "".
        unpacked: compressed weights that no kernel reads as they are, and why.
    """

    model: str
    device: str
    precision: str
    error: str = ""
    unpacked: dict[str, str] = field(default_factory=dict)

    def figures(self) -> Mapping[str, int]:
        """Column titles and what stands under them."""
        raise NotImplementedError

    def complaints(self) -> Mapping[str, str]:
        """Kernels that break a bar, and how."""
        raise NotImplementedError

    @property
    def verdict(self) -> str:
        return self.error or (f"{len(self.complaints())} unsound" if self.complaints() else "ok")


R = TypeVar("R", bound=Row)


@dataclass(frozen=True)
class Check(Generic[R]):
    """One static check.

    Attributes:
        title: of the table; says which tool speaks, and that nothing ran on a device.
        row: makes an empty row of (model, device, precision).
        examine: fills a row in from a model's file and shapes; may raise TilewrightError.
    """

    title: str
    row: Callable[[str, str, str], R]
    examine: Callable[[R, Path, Shapes], None]

    def run(self, args: argparse.Namespace, devices: Sequence[str]) -> int:
        """Checks ``args.models``, or ``args.layers``, in ``args.precisions`` on the devices.

        Returns the exit code: 1 where a row is bad.
        """
        with tempfile.TemporaryDirectory(prefix="tilewright-layers-") as folder:
            found = models(args.models) if args.layers is None else layers(args.layers, Path(folder))
            return self._run(args, devices, found)

    def _run(self, args: argparse.Namespace, devices: Sequence[str], found: Sequence[Model]) -> int:
        jobs = [
            (self.row(name, device, precision), path, shapes)
            for name, path, shapes in found
            for precision in args.precisions
            for device in devices
        ]
        rows: list[R] = []
        console = Console(width=None if sys.stdout.isatty() else 140, highlight=False)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
            task = progress.add_task("", total=len(jobs))
            for row, path, shapes in jobs:
                progress.update(task, description=f"{row.model} {row.device} {row.precision}")
                try:
                    self.examine(row, path, shapes)
                except TilewrightError as error:
                    row.error = str(error).splitlines()[0]
                rows.append(row)
                _print(console, row)
                progress.advance(task)
                if args.json:
                    args.json.write_text(json.dumps([dataclasses.asdict(done) for done in rows], indent=1))
        console.print(table(self.title, rows))
        return 0 if all(row.verdict == "ok" for row in rows) else 1


def parser(description: str | None) -> argparse.ArgumentParser:
    """A parser of the options that every check takes."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--models", nargs="+", default=[], help="zoo models or ONNX files (default: the whole zoo)")
    names = [layer.name for layer in compressed_layers.LAYERS]
    made.add_argument("--layers", nargs="*", choices=names, help="small compressed layers instead (default: all)")
    made.add_argument("--precisions", nargs="+", default=list(PRECISIONS), choices=PRECISIONS)
    made.add_argument("--json", type=Path, help="write the rows here too")
    return made


def models(names: Sequence[str]) -> list[Model]:
    """Name, file and shapes of the models asked for; all of the zoo if none is."""
    known = {model.name: model for model in ZOO}
    return [
        (name, known[name].onnx(), dict(known[name].shapes)) if name in known else (Path(name).stem, Path(name), {})
        for name in names or list(known)
    ]


def layers(names: Sequence[str], folder: Path) -> list[Model]:
    """Name, file and shapes of the compressed layers asked for, written to a folder; all if none is."""
    wanted = [layer for layer in compressed_layers.LAYERS if not names or layer.name in names]
    return [(name, path, {}) for name, path in compressed_layers.save(folder, wanted)]


def table(title: str, rows: Sequence[Row]) -> Table:
    """All rows."""
    made = Table(title=title)
    for column in ("model", "device", "precision"):
        made.add_column(column)
    for column in _figures(rows[0]) if rows else ():
        made.add_column(column, justify="right")
    made.add_column("verdict")
    for row in rows:
        made.add_row(row.model, row.device, row.precision, *map(str, _figures(row).values()), row.verdict)
    return made


def _figures(row: Row) -> dict[str, int]:
    return {**row.figures(), "unpacked": len(row.unpacked)}


def _print(console: Console, row: Row) -> None:
    figures = ", ".join(f"{value} {name}" for name, value in _figures(row).items())
    console.print(f"{row.model} {row.device} {row.precision}: {row.error or figures}", soft_wrap=True)
    for kernel, why in row.complaints().items():
        console.print(f"  {kernel}: {why}", soft_wrap=True)
