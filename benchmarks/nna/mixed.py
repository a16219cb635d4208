"""Mixed depths of 4 to 8 bits on nna-vbd beside 8 bits: traffic, time and energy by its model, and what it costs.

    python -m benchmarks.nna.mixed [--models efficientnet-lite0 ppocrv4-rec] [--share 0.6] [--json out.json]

A recipe asks for a share of the traffic that the same network takes by the preset int8; nothing is retrained. What
leaves the accelerator in the middle of a network has 8 bits then, where the preset leaves sums of 32; "int8, results 8"
shows what that alone saves, in networks that it concerns. Traffic, time and energy are those of the integer networks
that come out, by the model (lower/vbd/cost.py): nothing was measured on a device. Accuracy is measured in onnxruntime,
on the graphs that become those networks. Bar: at least 40 % less traffic than int8, and no figure of accuracy more than
0.01 below float's.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.evaluation import Figures, Yardstick
from benchmarks.rivals.base import float_model
from benchmarks.zoo import efficientnet_lite0, ppocr
from benchmarks.zoo.base import Model
from tilewright import compression
from tilewright.errors import RecipeError
from tilewright.integer.network import Convolution, Network
from tilewright.lower.vbd.cost import Facts, Total, costs, total
from tilewright.modelled import integer_parts
from tilewright.targets import model_facts

MODELS: dict[str, Model] = {model.name: model for model in (efficientnet_lite0.MODEL, ppocr.MODELS[0])}
LESS, LOST = 0.40, 0.01
_RESULTS = 8
_QUANTIZE = {"activations": 8, "results": _RESULTS, "rounding": "sequential", "correct_bias": True}


@dataclass(frozen=True)
class Row:
    """One form of a network.

    Attributes:
        weight_bits: of a weight, on average over all layers of the accelerator; activation_bits, likewise, of their
            elements.
    """

    model: str
    form: str
    figures: Figures | None
    cost: Total | None = None
    weight_bits: float = 0.0
    activation_bits: float = 0.0
    seconds: float = 0.0
    problem: str = ""


def measure(model: Model, share: float, samples: int, crops: int) -> Iterable[Row]:
    """Float, 8 bits with results of 32 and of 8, then mixed depths."""
    assert model.calibration is not None
    source = float_model(model)
    yardstick = Yardstick(model, source)
    calibration = list(islice((model.broad or model.calibration)(), crops))
    yield Row(model.name, "float", yardstick.figures)
    facts = Facts.of(model_facts("nna-vbd"))

    def row(form: str, recipe: Mapping[str, Any], parts: int = 1) -> Row | None:
        """None where the network has fewer parts."""
        begin = time.monotonic()
        made = compression.run(source, recipe, calibration=calibration)
        networks = list(integer_parts(made.model))
        if len(networks) < parts:
            return None
        cost = total(tuple(cost for network in networks for cost in costs(network, facts)), facts)
        figures = yardstick.measure(made.to_proto())
        return Row(model.name, form, figures, cost, *bits(networks), time.monotonic() - begin)

    eight = row("int8", {"preset": "int8"})
    assert eight is not None
    assert eight.cost is not None
    yield eight
    shallow = row(f"int8, results {_RESULTS}", {"preset": "int8", "quantize": {"results": _RESULTS}}, parts=2)
    if shallow is not None:
        yield shallow
    budget = {"traffic_mb": share * eight.cost.external / 1e6, "samples": samples}
    try:
        mixed = row("mixed", {"quantize": _QUANTIZE, "allocate": budget})
        assert mixed is not None
        yield mixed
    except RecipeError as error:
        yield Row(model.name, "mixed", None, problem=str(error))


def bits(networks: Iterable[Network]) -> tuple[float, float]:
    """Of a weight and of an activation, on average."""
    layers = [layer for network in networks for layer in network.operations if isinstance(layer, Convolution)]
    maps = [source for network in networks for source in network.maps if source.dtype != "int32"]
    weights = sum(layer.weights.size for layer in layers)
    elements = sum(source.elements for source in maps)
    return (
        sum(layer.bits * layer.weights.size for layer in layers) / weights,
        sum(source.affine.bits * source.elements for source in maps) / elements,
    )


def holds(rows: list[Row]) -> bool:
    """Whether mixed depths of a network keep the bar."""
    reference, eight, mixed = rows[0], rows[1], rows[-1]
    if eight.cost is None or mixed.cost is None or mixed.figures is None or reference.figures is None:
        return False
    less = 1 - mixed.cost.external / eight.cost.external
    drops = [score - mixed.figures.scores[metric] for metric, score in reference.figures.scores.items()]
    return less >= LESS and max(drops) <= LOST + 1e-9


def table(rows: list[Row]) -> Table:
    """For the terminal."""
    assert rows[0].figures is not None
    metrics = [*rows[0].figures.scores, *rows[0].figures.additional]
    out = Table("form", title=f"{rows[0].model}: nna-vbd by its model; accuracy in onnxruntime")
    headings = ("bits: weights", "activations", "DRAM, MB", "than int8", "ms", "mJ", *metrics, "agree", "error", "s")
    for heading in headings:
        out.add_column(heading, justify="right")
    for row in rows:
        if row.figures is None:
            continue
        scores = {**row.figures.scores, **row.figures.additional}
        modelled = [""] * 6
        if row.cost is not None:
            figures = (row.weight_bits, row.activation_bits, row.cost.external / 1e6)
            modelled = [f"{figure:.2f}" for figure in figures]
            eight = rows[1].cost
            modelled += ["" if eight is None else f"{row.cost.external / eight.external - 1:+.1%}"]
            modelled += [f"{row.cost.milliseconds:.3f}", f"{row.cost.energy_uj / 1e3:.3f}"]
        agreement = "" if row.figures.agreement is None else f"{row.figures.agreement:.4f}"
        found = [f"{scores[metric]:.4f}" for metric in metrics]
        out.add_row(row.form, *modelled, *found, agreement, f"{row.figures.error:.3f}", f"{row.seconds:.0f}")
    return out


def main() -> int:
    """Returns the exit code: 1 where a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS))
    parser.add_argument("--share", type=float, default=0.6, help="of the traffic at 8 bits")
    parser.add_argument("--samples", type=int, default=8, help="to measure each depth on")
    parser.add_argument("--calibration", type=int, default=None, metavar="N", help="only so many samples")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    everything: list[Row] = []
    kept = True
    for name in args.models:
        rows = list(measure(MODELS[name], args.share, args.samples, args.calibration))
        Console(width=180).print(table(rows))
        for row in rows:
            if row.problem:
                Console().print(f"{row.form}: {row.problem}", highlight=False, markup=False)
        kept = kept and holds(rows)
        everything += rows
        if args.json:
            args.json.write_text(json.dumps([asdict(row) for row in everything], indent=1) + "\n")
    Console().print("the bar holds" if kept else "the bar is missed")
    return int(not kept)


if __name__ == "__main__":
    sys.exit(main())
