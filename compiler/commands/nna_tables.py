"""What ``inspect`` shows of command streams: their layers, and with --stream their commands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from tilewright.plan import Plan
from tilewright.runtime import nna, vbd

_KINDS = {"ethosu": ("Ethos-", nna.disassemble), "vbd": ("nna-vbd-", vbd.disassemble)}
"""Of images: the device, and what reads their streams."""


def disassemble(plan: Plan) -> str:
    """Every command stream of a plan as text.

    Raises:
        ArtifactError: a stream is damaged.
        ToolError: the interpreter, which knows the commands, is not built.
    """
    blocks = []
    for number, module in enumerate(plan.modules):
        for image in module.images:
            if image.kind in _KINDS:
                device, read = _KINDS[image.kind]
                head = f"module {number} {module.name}, {device}{image.arch.upper()}, {len(image.data)} bytes"
                blocks.append("\n".join([head, *read(image.data)]))
    return "\n\n".join(blocks) if blocks else "no command stream"


_SIZES = (
    ("weights, bytes", "weight_bytes"),
    ("at 8 bits", "plain_bytes"),
    ("entropy", "entropy_bytes"),
    ("biases, scales, tables", "scale_bytes"),
)
_ESTIMATES = (
    ("cycles", "cycles"),
    ("flash, DRAM bytes", "external"),
    ("SRAM bytes", "sram"),
    ("microjoules", "energy_uj"),
)


def show(table: Mapping[str, Any], out: Console) -> None:
    """The layers of each stream with the sizes of their weights and what they are estimated to take, and what the
    host computes.

    Args:
        table: the artifact's metadata ``nna``.
    """
    layers = [layer for part in table["parts"] for layer in part["layers"]]
    coded, plain = (sum(layer[key] for layer in layers) for key in ("weight_bytes", "plain_bytes"))
    out.print(
        f"{len(layers)} layers in {len(table['parts'])} command streams; "
        f"weights take {coded:,} bytes, {plain:,} at 8 bits",
        highlight=False,
    )
    if layers:
        out.print(_layers(table["parts"]))
    if any(layer.get("estimate") for layer in layers):
        out.print(_estimates(table["parts"]))
        out.print("of shapes, depths and a model of the device and its memory; nothing was measured", highlight=False)
    for name, reason in table["host"].items():
        out.print(f"on the host: {name}: {reason}", markup=False, highlight=False)


def _layers(parts: Sequence[Mapping[str, Any]]) -> Table:
    layers = [(number, layer) for number, part in enumerate(parts) for layer in part["layers"]]
    deep = "weight_bits" in layers[0][1]
    rows = Table("stream", "layer", *(("bits: in, weights, out",) if deep else ()))
    for heading, _ in _SIZES:
        rows.add_column(heading, justify="right")
    for number, layer in layers:
        depths = [str(layer[f"{key}_bits"] or "-") for key in ("input", "weight", "output")] if deep else []
        sizes = (_size(layer[key]) for _, key in _SIZES)
        rows.add_row(str(number), layer["layer"], *([", ".join(depths)] if deep else []), *sizes)
    return rows


def _estimates(parts: Sequence[Mapping[str, Any]]) -> Table:
    layers = [(number, layer) for number, part in enumerate(parts) for layer in part["layers"]]
    known = [(heading, key) for heading, key in _ESTIMATES if key in layers[0][1]["estimate"]]
    rows = Table("stream", "layer", title="By a model" if known[-1][1] == "energy_uj" else "Estimated")
    for heading in ("cycles", "MACs busy", *(heading for heading, _ in known[1:])):
        rows.add_column(heading, justify="right")
    for number, layer in layers:
        busy, cells = layer["utilisation"], [_size(layer["estimate"][key]) for _, key in known]
        rows.add_row(str(number), layer["layer"], cells[0], f"{busy:.0%}" if busy else "", *cells[1:])
    rows.add_section()
    cells = [_size(sum(layer["estimate"][key] for _, layer in layers)) for _, key in known]
    rows.add_row("", "all", cells[0], "", *cells[1:])
    return rows


def _size(size: float) -> str:
    return (f"{size:,.0f}" if size >= 10 else f"{size:.2g}") if size else ""
