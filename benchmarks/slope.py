"""Time against density: do removed blocks become saved time?

    python -m benchmarks.slope [--layer FC7 1x1-256@28] [--rounds 15] [--plot slope.png] [--json out.json]

Every layer is compiled at 100, 50, 25, 12.5 and 6.25 % of its blocks, in fp32 (16x1) and int8 (16x4); where a sparse
kernel would be slower, the compiler keeps the layer dense, and that is what is timed. Times are CPU time by onnxruntime
fp32's in the same rounds (layer_table.py). The slope is that of the least-squares line through log(time) over
log(density) down to 12.5 %; 1 would be time in proportion to what is left. Bar: at least 0.85. Exit code 1 where it is
missed. The plot needs matplotlib.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich.console import Console

from benchmarks import conv, fc
from benchmarks.layer_table import Row, console, machine, measure
from benchmarks.layers import Form, Layer

DENSITIES = (1.0, 0.5, 0.25, 0.125, 0.0625)
LEAST = 0.125  # what the slope is taken down to
BAR = 0.85
LAYERS: dict[str, Layer] = {
    "FC6": fc.layer("FC6", 1),
    "FC7": fc.layer("FC7", 1),
    **{name: layer for name, layer in conv.LAYERS.items() if name.startswith("1x1")},
}
KINDS = ("fp32", "int8")


@dataclass(frozen=True)
class Curve:
    """Times of one layer and precision.

    Attributes:
        ratios: CPU time by onnxruntime fp32's, for ``DENSITIES``.
        us: microseconds a call.
    """

    layer: str
    kind: str
    ratios: tuple[float, ...]
    us: tuple[float, ...]

    @property
    def slope(self) -> float:
        """Of log(time) over log(density), down to ``LEAST``."""
        points = [(d, r) for d, r in zip(DENSITIES, self.ratios, strict=True) if d >= LEAST]
        x, y = np.log(np.array(points)).T
        return float(np.polyfit(x, y, 1)[0])


def forms(layer: Layer, kind: str) -> list[Form]:
    """A form for each density."""
    if kind == "fp32":
        return [Form(f"fp32 {density:.2%}", (16, 1), density) for density in DENSITIES]
    activations = "dynamic" if len(layer.w) == 2 else "static"
    return [Form(f"int8 {density:.2%}", (16, 4), density, "int8", activations) for density in DENSITIES]


def curve(name: str, kind: str, target: str, rounds: int, err: Console) -> Curve:
    """Measures one layer and precision."""
    rows: list[Row] = measure(LAYERS[name], forms(LAYERS[name], kind), [], {}, target, rounds, err)[1:]
    return Curve(name, kind, tuple(row.cpu for row in rows), tuple(row.us for row in rows))


def plot(curves: Sequence[Curve], path: Path) -> None:
    """Draws the curves on logarithmic axes."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 5.5), layout="constrained")
    colours = {name: f"C{place}" for place, name in enumerate(LAYERS)}
    for found in curves:
        style = "-o" if found.kind == "fp32" else "--s"
        label = f"{found.layer} {found.kind}, slope {found.slope:.2f}"
        axes.loglog(DENSITIES, found.ratios, style, color=colours[found.layer], label=label)
    axes.set_xticks(DENSITIES, [f"{density:.4g} %" for density in np.array(DENSITIES) * 100])
    axes.minorticks_off()
    axes.set(xlabel="blocks kept", ylabel="time by onnxruntime fp32's, dense")
    axes.grid(True, which="major", alpha=0.3)
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=120)


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layer", nargs="+", choices=list(LAYERS), default=list(LAYERS), metavar="NAME")
    parser.add_argument("--kind", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--target", default="cpu")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--plot", type=Path, metavar="PNG")
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args(argv)
    out, err = console()
    curves = []
    heading = " ".join(f"{density:>9.2%}" for density in DENSITIES)
    out.print(f"{'CPU time by that of onnxruntime fp32':<38}{heading}   slope", highlight=False)
    for kind in args.kind:
        for name in args.layer:
            found = curve(name, kind, args.target, args.rounds, err)
            curves.append(found)
            ratios = " ".join(f"{ratio:9.3f}" for ratio in found.ratios)
            verdict = "held" if found.slope >= BAR else "MISSED"
            out.print(f"{name + ' ' + kind:<38}{ratios}   {found.slope:.2f} {verdict}", highlight=False)
    if args.plot is not None:
        plot(curves, args.plot)
    if args.json is not None:
        entries = [asdict(found) | {"slope": found.slope} for found in curves]
        args.json.write_text(json.dumps({**machine(), "densities": DENSITIES, "curves": entries}, indent=2) + "\n")
    missed = [found for found in curves if found.slope < BAR]
    out.print(f"{len(curves) - len(missed)} of {len(curves)} slopes of at least {BAR}", highlight=False)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
