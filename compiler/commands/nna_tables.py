"""What ``inspect`` shows of command streams: their layers, and with --stream their commands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from tilewright.plan import Plan
from tilewright.runtime import nna


def disassemble(plan: Plan) -> str:
    """Every command stream of a plan as text.

    Raises:
        ArtifactError: a stream is damaged.
        ToolError: the interpreter, which knows the commands, is not built.
    """
    blocks = []
    for number, module in enumerate(plan.modules):
        for image in module.images:
            if image.kind == "ethosu":
                head = f"module {number} {module.name}, Ethos-{image.arch.upper()}, {len(image.data)} bytes"
                blocks.append("\n".join([head, *nna.disassemble(image.data)]))
    return "\n\n".join(blocks) if blocks else "no command stream"


def show(table: Mapping[str, Any], out: Console) -> None:
    """The layers of each stream with the sizes of their weights, and what the host computes.

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
        rows = Table("stream", "layer")
        for heading in ("weights, bytes", "at 8 bits", "entropy", "biases, scales, tables"):
            rows.add_column(heading, justify="right")
        for number, part in enumerate(table["parts"]):
            for layer in part["layers"]:
                sizes = (layer[key] for key in ("weight_bytes", "plain_bytes", "entropy_bytes", "scale_bytes"))
                rows.add_row(str(number), layer["layer"], *(f"{size:,.0f}" if size else "" for size in sizes))
        out.print(rows)
    for name, reason in table["host"].items():
        out.print(f"on the host: {name}: {reason}", markup=False, highlight=False)
