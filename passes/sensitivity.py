"""What each weight of a network would cost, and harm, in each of some formats: the table that allocation works on.

Errors are label-free. With calibration data, the error of an option is the deviation of the network's outputs when
this weight alone is replaced by what the format decodes to (see deviation.py), as in the layer-wise measurements of
HAWQ (arXiv:1905.03696) and ZeroQ (arXiv:2001.00281), but of logits and without gradients. Without data, it is only
a proxy: the squared error of the weight relative to its own energy, sum (w - d)**2 / sum w**2.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import onnx_ir as ir

from tilewright.errors import DataError, Problem, RecipeError
from tilewright.formats.packed import PackedWeight, pack, unpack
from tilewright.formats.registry import Format
from tilewright.passes.deviation import Array, Deviation, Probe
from tilewright.passes.execution import Feed
from tilewright.passes.weights import Weight, check_finite, weights_in

Candidates = Callable[[Weight], Sequence[Format]]
Cost = Callable[[Weight, PackedWeight], float]
"""What a packed weight costs, not negative: bytes, or what a target's model says (cycles, DRAM bytes)."""
Observer = Callable[[str], None]
"""Hears the name of every layer that is done."""


def file_bytes(weight: Weight, packed: PackedWeight) -> float:
    """Bytes in the file: values, scales, index and codebooks, entropy-coded where the format says so."""
    return packed.nbytes


@dataclass(frozen=True)
class Option:
    """A weight in one format."""

    packed: PackedWeight
    cost: float
    error: float

    @property
    def spec(self) -> str:
        return self.packed.format.spec


@dataclass(frozen=True)
class Sensitivity:
    """A weight and its options, as ordered by the candidates."""

    weight: Weight
    options: tuple[Option, ...]

    @property
    def layer(self) -> str:
        return self.weight.layer

    @property
    def elements(self) -> int:
        return math.prod(self.options[0].packed.shape)


class Sensitivities:
    """The table.

    Attributes:
        layers: weights with candidates, in graph order; all others stay as they are and count nowhere.
        measure: "outputs", or "weights" where errors are the proxy.
    """

    def __init__(self, layers: Sequence[Sensitivity], deviation: Deviation | None) -> None:
        self.layers = tuple(layers)
        self.measure: Literal["outputs", "weights"] = "weights" if deviation is None else "outputs"
        self._deviation = deviation
        self._decoded: dict[int, tuple[int, Array]] = {}  # of each layer the option decoded last

    @property
    def elements(self) -> int:
        """Weights in the table."""
        return sum(layer.elements for layer in self.layers)

    def options(self, choice: Sequence[int]) -> list[Option]:
        """The options of a choice, one index a layer."""
        return [layer.options[index] for layer, index in zip(self.layers, choice, strict=True)]

    def priced(self, cost: Cost) -> Sensitivities:
        """The same errors with other costs."""
        layers = []
        for layer in self.layers:
            options = [replace(option, cost=float(cost(layer.weight, option.packed))) for option in layer.options]
            layers.append(replace(layer, options=tuple(options)))
        return Sensitivities(layers, self._deviation)

    def joint(self, choice: Sequence[int]) -> float:
        """The deviation of the outputs with all weights replaced at once.

        Raises:
            DataError: the errors are a proxy, so there is no data to measure with.
        """
        if self._deviation is None:
            raise DataError("the error of a network can only be measured with calibration data; give some")
        weights = {}
        for at, (layer, option) in enumerate(zip(self.layers, self.options(choice), strict=True)):
            if self._decoded.get(at, (-1,))[0] != choice[at]:
                self._decoded[at] = choice[at], layer.weight.arranged(unpack(option.packed))
            weights[layer.weight.value.name or ""] = self._decoded[at][1]
        return self._deviation.joint(weights)


def sensitivities(
    model: ir.Model,
    feeds: Iterable[Feed] | None,
    candidates: Candidates,
    cost: Cost = file_bytes,
    observe: Observer = lambda layer: None,
) -> Sensitivities:
    """Packs every weight in every candidate format and measures the error.

    A session runs the part of the network behind each weight, whatever the number of its candidates. A model of a
    larger batch, with feeds to match, is faster for the same number of samples.

    Args:
        model: the float network, normalised; left unchanged.
        feeds: calibration inputs by name; None for the proxy.
        candidates: the formats of a weight; none leaves it as it is.

    Raises:
        RecipeError: no weight has a candidate.
        DataError: no feed; NaN or infinity in weights or outputs; a format that cannot hold a weight. All layers are
            listed.
    """
    weights = weights_in(model.graph)
    asked = [(weight, tuple(candidates(weight))) for weight in weights]
    work = {weight: formats for weight, formats in asked if formats}
    if not work:
        raise RecipeError(f"allocation has nothing to choose from: none of {len(asked)} weights has a candidate format")
    check_finite(work, "formats cannot be allocated")
    deviation = None if feeds is None else Deviation(model, feeds)
    probes = ((weight, None) for weight in work) if deviation is None else deviation.probes(list(work))
    layers, problems = [], []
    for weight, probe in probes:
        try:
            options = tuple(_options(weight, work[weight], cost, probe))
        except DataError as error:
            problems.append(str(Problem(weight.layer, str(error))))
            continue
        if any(math.isfinite(option.error) for option in options):
            layers.append(Sensitivity(weight, options))
        else:
            tried = ", ".join(option.spec for option in options)
            problems.append(str(Problem(weight.layer, f"the outputs become NaN or infinite with each of {tried}")))
        observe(weight.layer)
    if problems:
        raise DataError("formats cannot be allocated:\n  - " + "\n  - ".join(problems))
    return Sensitivities(layers, deviation)


def _options(weight: Weight, formats: Iterable[Format], cost: Cost, probe: Probe | None) -> Iterator[Option]:
    assert weight.value.const_value is not None
    original = weight.value.const_value.numpy()
    energy = _energy(original)
    for form in formats:
        packed = pack(weight.matrix, form)
        decoded = weight.arranged(unpack(packed))
        error = _energy(original - decoded) / (energy or 1.0) if probe is None else probe(decoded)
        yield Option(packed, float(cost(weight, packed)), error)


def _energy(array: Array) -> float:
    flat = array.ravel().astype(np.float64)
    return float(flat @ flat)
