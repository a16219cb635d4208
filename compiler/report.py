"""The report of a compression: what became of every weight, and of every byte of the file.

The same data are a table on the terminal, JSON, and (report_html.py) a page.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt
from rich.table import Table

_LEAST = 1e-40  # below, bins would be narrower than numbers are apart
BINS = 41  # of the histograms: odd, so that zero has a bin of its own


@dataclass(frozen=True)
class Histogram:
    """How the weights of a layer are distributed before and after, over [-limit, limit] in ``BINS`` equal bins."""

    limit: float
    before: tuple[int, ...]
    after: tuple[int, ...]


@dataclass(frozen=True)
class LayerReport:
    """One weight.

    Attributes:
        layer, operator: name and op_type of the node that uses it.
        weight: name of the weight.
        shape: of the weight.
        layout, codec, storage: specs; a weight that was left alone is ``dense f32 raw``.
        bytes_before: as float32.
        parts: bytes in the file by role: "values", "index", "scales", "codebook", "padding" ...
        activations: bits of the layer's quantized inputs, None if they are float.
        kept: share of the magnitude (sum of |w|) that is not pruned away.
        snr: of the stored weight against the original one, in dB; None where nothing is lost or it is not known.
        output_error: relative L2 error of the layer's output on calibration data, all layers before it included.
        note: why something that was asked for was not done.
    """

    layer: str
    operator: str
    weight: str
    shape: tuple[int, ...]
    layout: str
    codec: str
    storage: str
    bytes_before: int
    parts: Mapping[str, int]
    activations: int | None = None
    kept: float | None = None
    snr: float | None = None
    output_error: float | None = None
    note: str = ""
    histogram: Histogram | None = None

    @property
    def format(self) -> str:
        """Codec, then layout and storage unless they are dense and raw; ``float`` if the weight was left alone."""
        parts = [self.codec if self.codec != "f32" or self.layout != "dense" else "float"]
        parts += [self.layout] if self.layout != "dense" else []
        parts += [self.storage] if self.storage != "raw" else []
        return " ".join(parts)

    @property
    def bytes(self) -> int:
        """In the file, all parts counted."""
        return sum(self.parts.values())

    @property
    def elements(self) -> int:
        """Weights before compression."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def bits_per_weight(self) -> float:
        return 8 * self.bytes / max(1, self.elements)


@dataclass(frozen=True)
class FrontPoint:
    """A choice of formats on the front of size and error.

    Attributes:
        bytes: of all allocated weights; what else they are, or nanoseconds, is said by ``Report.front_axis``.
        error: relative squared error of the network's outputs, predicted; measured where ``measured`` is given.
        chosen: whether this is the one in the model.
        uniform: the format where all weights have the same, for comparison; else empty.
    """

    bytes: int
    error: float
    measured: float | None = None
    chosen: bool = False
    uniform: str = ""


@dataclass(frozen=True)
class PivotReport:
    """Pivoting of a weight: shares of the magnitude that blocks keep, and what did not move."""

    layer: str
    unpivoted: float
    pivoted: float
    unstructured: float
    fixed: tuple[str, ...]


@dataclass(frozen=True)
class GateReport:
    """The accuracy gate: a metric before and after."""

    metric: str
    before: float
    after: float
    max_drop: float
    samples: int

    @property
    def holds(self) -> bool:
        return self.before - self.after <= self.max_drop

    @property
    def complaint(self) -> str:
        """What to tell the user where it does not hold."""
        return (
            f"{self.metric} fell from {self.before:.2%} to {self.after:.2%} on {self.samples} samples, by more than "
            f"accuracy.max_drop = {self.max_drop:g}; nothing was written"
        )


@dataclass(frozen=True)
class Report:
    """A compression.

    Attributes:
        model: its name.
        recipe: as a table.
        layers: every weight that passes can work on, in graph order.
        file: bytes of the file by what they are ("weights", "code", "graph" ...); their sum is the file's size.
        kind: of the file: "onnx" or "artifact".
        front: of the bit allocation, by size.
        front_axis: what its sizes are: bytes of weights or of traffic, or nanoseconds; the latter two by a model.
        gathers: permutations that could not be absorbed and cost a gather at run time.
        notes: of the network as a whole.
    """

    model: str
    recipe: Mapping[str, Any]
    layers: tuple[LayerReport, ...]
    file: Mapping[str, int] = field(default_factory=dict)
    kind: str = "onnx"
    front: tuple[FrontPoint, ...] = ()
    pivots: tuple[PivotReport, ...] = ()
    gathers: int = 0
    gate: GateReport | None = None
    notes: tuple[str, ...] = ()
    front_axis: Literal["weights", "traffic", "time"] = "weights"

    @property
    def bytes_before(self) -> int:
        """Of the reported weights as float32."""
        return sum(layer.bytes_before for layer in self.layers)

    @property
    def bytes(self) -> int:
        """Of the reported weights in the file."""
        return sum(layer.bytes for layer in self.layers)

    @property
    def bits_per_weight(self) -> float:
        """Averaged over all reported weights."""
        return 8 * self.bytes / max(1, sum(layer.elements for layer in self.layers))

    @property
    def file_bytes(self) -> int:
        return sum(self.file.values())

    def with_file(self, kind: str, file: Mapping[str, int], layers: Sequence[LayerReport] | None = None) -> Report:
        """The same compression in another file."""
        return replace(self, kind=kind, file=dict(file), layers=self.layers if layers is None else tuple(layers))

    def to_json(self) -> dict[str, Any]:
        """Plain values; derived figures included. What is not finite is None: JSON has no infinity."""
        table: dict[str, Any] = msgspec.to_builtins(self)
        for entry, layer in zip(table["layers"], self.layers, strict=True):
            entry |= {"bytes": layer.bytes, "bits_per_weight": layer.bits_per_weight}
        totals = {"bytes_before": self.bytes_before, "bytes": self.bytes, "bits_per_weight": self.bits_per_weight}
        whole: dict[str, Any] = _finite({**table, "totals": {**totals, "file_bytes": self.file_bytes}})
        return whole


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def histogram(before: npt.ArrayLike, after: npt.ArrayLike) -> Histogram:
    """Counts of weights over the range of the original ones; decoded values beyond it count in the outermost bins."""
    old, new = np.asarray(before, np.float32), np.asarray(after, np.float32)
    limit = float(np.abs(old).max(initial=0))
    limit = limit if limit > _LEAST else 1.0
    counts = [np.histogram(np.clip(w, -limit, limit), BINS, (-limit, limit))[0].tolist() for w in (old, new)]
    return Histogram(limit, tuple(counts[0]), tuple(counts[1]))


def tables(report: Report) -> list[Table]:
    """The report for a terminal: layers, then the file."""
    title = f"{report.model or 'model'}: {len(report.layers)} weights, {report.bytes_before:,} bytes as float32"
    layers = Table(title=title)
    layers.add_column("layer", overflow="fold")
    words = [len(word) for layer in report.layers for word in layer.format.split()]
    layers.add_column("format", min_width=max(words, default=0))  # wraps between its parts
    noted = any(layer.note for layer in report.layers)
    for name in ("act", "bits/w", "bytes", "kept", "SNR dB", "error"):
        layers.add_column(name, justify="right", no_wrap=True)
    if noted:
        layers.add_column("note", overflow="fold")
    for layer in report.layers:
        layers.add_row(
            layer.layer,
            layer.format,
            str(layer.activations or "-"),
            f"{layer.bits_per_weight:.2f}",
            f"{layer.bytes:,}",
            _number(layer.kept, "{:.1%}"),
            _number(layer.snr, "{:.1f}"),
            _number(layer.output_error, "{:.1e}"),
            *[layer.note] * noted,
        )
    layers.add_section()
    layers.add_row("all weights", "", "", f"{report.bits_per_weight:.2f}", f"{report.bytes:,}")
    made = [layers]
    if report.pivots:
        made.append(_pivot_table(report.pivots, report.gathers))
    if report.file:
        what = {"onnx": "ONNX file", "artifact": "artifact"}.get(report.kind, report.kind)
        file = Table("part", title=f"The {what}, byte by byte")
        file.add_column("bytes", justify="right")
        for name, size in report.file.items():
            file.add_row(name, f"{size:,}")
        file.add_section()
        file.add_row("file", f"{report.file_bytes:,}")
        made.append(file)
    return made


def _pivot_table(pivots: Sequence[PivotReport], gathers: int) -> Table:
    caption = f"Layers that share an order follow the largest of them. Gathers at run time: {gathers}"
    table = Table("layer", title="Magnitude that blocks keep, and what could not be permuted", caption=caption)
    for name in ("in place", "pivoted", "unstructured"):
        table.add_column(name, justify="right")
    table.add_column("fixed", overflow="fold")
    for pivot in pivots:
        shares = [f"{share:.1%}" for share in (pivot.unpivoted, pivot.pivoted, pivot.unstructured)]
        table.add_row(pivot.layer, *shares, "; ".join(pivot.fixed))
    return table


def _number(value: float | None, form: str) -> str:
    return "-" if value is None or not np.isfinite(value) else form.format(value)
