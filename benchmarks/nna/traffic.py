"""What nna-vbd's DRAM traffic consists of, at 8 bits and at the least depths that there are: a lower bound.

    python -m benchmarks.nna.traffic [--models efficientnet-lite0 ppocrv4-rec] [--calibration 16]

Networks are quantized and lowered; bytes are those of the integer networks that come out, by the model of
lower/vbd/cost.py. Nothing was measured on a device, and accuracy is not looked at: what depths cost is
benchmarks.nna.mixed's business. ``results 8`` are 8 bits for what leaves the accelerator in the middle of a network.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.nna.mixed import MODELS
from benchmarks.rivals.base import float_model
from benchmarks.zoo.base import Model
from tilewright import compression
from tilewright.integer.network import Convolution, Network
from tilewright.lower.vbd.cost import Facts, costs
from tilewright.modelled import integer_parts
from tilewright.targets import model_facts

FORMS: Mapping[str, Mapping[str, Any]] = {
    "int8": {"weights": "int8", "activations": 8},
    "int8, results 8": {"weights": "int8", "activations": 8, "results": 8},
    "weights 4": {"weights": "int4", "activations": 8},
    "weights 4, results 8": {"weights": "int4", "activations": 8, "results": 8},
    "least: all 4, results 8": {"weights": "int4", "activations": 4, "results": 8},
}


@dataclass(frozen=True)
class Traffic:
    """Bytes of one inference, by what they are.

    Attributes:
        parameters: biases, scales, tables.
        inputs, outputs: what hosts and the accelerator exchange, the latter with the sums among them.
        sums: of ``outputs`` those of 32 bits.
        maps: feature maps in between that do not fit on the chip.
    """

    weights: int
    parameters: int
    inputs: int
    outputs: int
    sums: int
    maps: int

    @property
    def total(self) -> int:
        return self.weights + self.parameters + self.inputs + self.outputs + self.maps


def composition(networks: Iterable[Network], facts: Facts) -> Traffic:
    """Of the integer parts of one network together."""
    found = [_of(network, facts) for network in networks]
    return Traffic(*(sum(values) for values in zip(*(vars(part).values() for part in found), strict=True)))


def _of(network: Network, facts: Facts) -> Traffic:
    layers = costs(network, facts)
    weights = sum(layer.weight_bytes for layer in network.operations if isinstance(layer, Convolution))
    constants = sum(layer.weight_bytes for layer in layers)
    reads = [index for operation in network.operations for index in dict.fromkeys(operation.sources)]
    inputs = sum(network.maps[index].nbytes * reads.count(index) for index in network.inputs)
    outputs = sum(network.maps[index].nbytes for index in network.outputs)
    sums = sum(network.maps[index].nbytes for index in network.outputs if network.maps[index].dtype == "int32")
    between = sum(layer.external for layer in layers) - constants - inputs - outputs
    return Traffic(weights, constants - weights, inputs, outputs, sums, between)


def measure(model: Model, crops: int) -> dict[str, Traffic]:
    """The forms of a network, in the order of ``FORMS``."""
    assert model.calibration is not None
    calibration = list(islice(model.calibration(), crops))
    facts = Facts.of(model_facts("nna-vbd"))
    found = {}
    for form, settings in FORMS.items():
        made = compression.run(float_model(model), {"quantize": dict(settings)}, calibration=calibration)
        found[form] = composition(integer_parts(made.model), facts)
    return found


def table(name: str, forms: Mapping[str, Traffic]) -> Table:
    """For the terminal; the last columns compare with the first two rows."""
    out = Table("form", title=f"{name}: DRAM traffic of nna-vbd by its model, bytes of one inference")
    references = [traffic.total for traffic in list(forms.values())[:2]]
    for heading in ("weights", "biases, scales, tables", "inputs", "outputs", "of them sums", "maps", "all"):
        out.add_column(heading, justify="right")
    for heading in list(forms)[:2]:
        out.add_column(f"than {heading}", justify="right")
    for form, traffic in forms.items():
        figures = (traffic.weights, traffic.parameters, traffic.inputs, traffic.outputs, traffic.sums, traffic.maps)
        ratios = [f"{traffic.total / reference - 1:+.1%}" for reference in references]
        out.add_row(form, *(f"{figure:,}" for figure in (*figures, traffic.total)), *ratios)
    return out


def main() -> None:
    """Prints a table for each network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS))
    parser.add_argument("--calibration", type=int, default=16, metavar="N", help="samples")
    args = parser.parse_args()
    for name in args.models:
        Console(width=160).print(table(name, measure(MODELS[name], args.calibration)))


if __name__ == "__main__":
    main()
