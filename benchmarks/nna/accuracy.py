"""Accuracy of quantized networks on NNA targets, end to end, beside the float network's.

    python -m benchmarks.nna.accuracy [--models mnist-conv ...] [--recipes int8 mixed6 ...] [--target nna-vbd] [--quick]
                                      [--json out.json]

Each network is compressed, compiled for the target and run as an artifact: on the functional model of the accelerator,
bit for bit what it would compute, and on the host's cpu what the accelerator does not take. The float network runs in
onnxruntime. Nothing is retrained; calibration and measurement share no data. "agree" is the share of decisions on
unlabelled inputs that stay the float network's. A recipe is one of those below, a preset, or a TOML file; --quick
measures the first metric and 64 inputs. Exit code 1 where a score is further below the float network's than its bar.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.compression import MODELS
from benchmarks.evaluation import Figures, Yardstick
from benchmarks.rivals.base import float_model
from benchmarks.zoo.base import Array, Model, Run
from tilewright import compile as compile_model
from tilewright.artifact import Artifact
from tilewright.compression import run as compress
from tilewright.runtime import Session

_LOW = ("int4", "int5", "int6", "int7", "int8")
RECIPES: Mapping[str, Mapping[str, Any]] = {
    "int8": {"preset": "int8"},
    "int8r8": {"preset": "int8", "quantize": {"results": 8}},
    "w6a8": {"quantize": {"weights": "int6", "activations": 8, "correct_bias": True}},
    "w6a7": {"quantize": {"weights": "int6", "activations": 7, "correct_bias": True}},
    "w8a6": {"quantize": {"weights": "int8", "activations": 6, "correct_bias": True}},
    "mixed6": {
        "allocate": {"bits": 6.0, "candidates": _LOW},
        "quantize": {"activations": 8, "correct_bias": True},
    },
    "mixed6a7": {
        "allocate": {"bits": 6.0, "candidates": _LOW},
        "quantize": {"activations": 7, "correct_bias": True},
    },
    "mixed5": {
        "allocate": {"bits": 5.0, "candidates": _LOW},
        "quantize": {"activations": 8, "correct_bias": True},
    },
    "w4a8": {"quantize": {"weights": "int4", "activations": 8, "correct_bias": True}},
    "w8a16": {"quantize": {"weights": "int8", "activations": 16, "correct_bias": True}},
    "w16a16": {"quantize": {"weights": "vbd(16,per=tensor)", "activations": 16}},
}
BARS = {"int8": 0.005, "int8r8": 0.005}
"""How much of a score a recipe may lose; of all others, ``BAR``."""
BAR = 0.01
NETWORKS = ("mnist-conv", "mnist-bundled", "efficientnet-lite0", "ppocrv4-rec")


@dataclass(frozen=True)
class Row:
    """One network by one recipe.

    Attributes:
        layers, host: how many layers the accelerator computes, and the host.
        weight_bytes, plain_bytes: of the accelerator's weights, and the same at 8 bits.
        weight_bits, activation_bits: on average; activations by what each layer makes, accumulators left out.
        before, after: the float network's figures, and this one's.
    """

    network: str
    recipe: str
    target: str
    layers: int
    host: int
    weight_bytes: int
    plain_bytes: int
    weight_bits: float
    activation_bits: float
    before: Figures
    after: Figures
    seconds: float

    @property
    def lost(self) -> float:
        """The most that any judged score lost."""
        return max(self.before.scores[metric] - score for metric, score in self.after.scores.items())

    @property
    def missed(self) -> bool:
        return self.lost > BARS.get(self.recipe, BAR)


def measure(model: Model, recipe: str, target: str, yardstick: Yardstick) -> Row:
    """Compresses, compiles and runs a network."""
    assert model.calibration is not None
    begin = time.monotonic()
    chosen: Any = RECIPES.get(recipe, recipe)
    made = compress(float_model(model), chosen, calibration=list(model.calibration()))
    artifact = compile_model(made.to_proto(), target)
    layers = [layer for part in artifact.metadata["nna"]["parts"] for layer in part["layers"]]
    weight, plain = (sum(layer[key] for layer in layers) for key in ("weight_bytes", "plain_bytes"))
    depths = [layer["output_bits"] for layer in layers if layer.get("output_bits", 32) < 32]
    figures = yardstick.judge(_runner(artifact))
    return Row(
        model.name,
        recipe,
        target,
        len(layers),
        len(artifact.metadata["nna"]["host"]),
        weight,
        plain,
        8 * weight / max(plain, 1),
        float(np.mean(depths)) if depths else 8.0,
        yardstick.figures,
        figures,
        time.monotonic() - begin,
    )


def _runner(artifact: Artifact) -> Run:
    session = Session(artifact.to_bytes())

    def run(feeds: dict[str, Array]) -> dict[str, Array]:
        return dict(session.run(feeds))

    return run


def table(rows: list[Row]) -> Table:
    """Simulated, says its title."""
    found = Table("network", "recipe", title="Accuracy on a simulated NNA, nothing retrained")
    for heading in ("layers, host", "weights, bytes", "bits a weight", "an activation", "float", "here", "agree"):
        found.add_column(heading, justify="right")
    for row in rows:
        scores = [[f"{score:.1%}" for score in figures.scores.values()] for figures in (row.before, row.after)]
        found.add_row(
            row.network,
            row.recipe,
            f"{row.layers}, {row.host}",
            f"{row.weight_bytes:,}",
            f"{row.weight_bits:.2f}",
            f"{row.activation_bits:.2f}",
            "\n".join(scores[0]),
            "\n".join(scores[1]) + ("  missed" if row.missed else ""),
            "" if row.after.agreement is None else f"{row.after.agreement:.1%}",
        )
    return found


def main() -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=NETWORKS, choices=NETWORKS)
    parser.add_argument("--recipes", nargs="+", default=["int8", "mixed6"])
    parser.add_argument("--target", default="nna-vbd")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    rows: list[Row] = []
    for name in args.models:
        yardstick = Yardstick(MODELS[name], float_model(MODELS[name]), args.quick)
        for recipe in args.recipes:
            rows.append(measure(MODELS[name], recipe, args.target, yardstick))
            Console().print(table(rows[-1:]))
            if args.json:
                args.json.write_text(json.dumps([asdict(row) for row in rows], indent=1, default=dict) + "\n")
    if len(rows) > 1:
        Console().print(table(rows))
    return int(any(row.missed for row in rows))


if __name__ == "__main__":
    sys.exit(main())
