"""Bit allocation: a format for every weight, so that the network's outputs move least within a budget.

The errors of single weights (sensitivity.py) are taken to add up, which a knapsack solves (knapsack.py); then exchanges
between layers are tried on the whole network, where errors interact. This is the post-training form of variable bit
depth: depths differ by layer, chosen without labels and without training.
"""

from __future__ import annotations

import dataclasses
import heapq
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tilewright.errors import AccuracyError, RecipeError
from tilewright.formats.packed import PackedWeight
from tilewright.passes.knapsack import Items, best, pareto
from tilewright.passes.sensitivity import Option, Sensitivities
from tilewright.passes.weights import Weight

Moves = tuple[tuple[int, int], ...]  # layers, and the options that they change to


@dataclass(frozen=True)
class AllocatedLayer:
    """What a layer got.

    Attributes:
        error: of the network when this layer alone is stored so.
    """

    layer: str
    weight: str
    spec: str
    cost: float
    bits_per_weight: float
    error: float


@dataclass(frozen=True)
class FrontPoint:
    """An allocation that no cheaper one equals, or the same format for every weight.

    Attributes:
        bits: on average, of each weight.
        error: sum of the layers' errors.
        uniform: the format where all weights have the same, else empty.
    """

    cost: float
    bits: float
    error: float
    choice: tuple[int, ...] = dataclasses.field(repr=False)
    uniform: str = ""


@dataclass(frozen=True)
class Allocation:
    """A format for every weight of a table.

    Attributes:
        measure: of the errors: "outputs" or "weights" (a proxy).
        layers: in graph order.
        packed: the stored weights, by initializer.
        cost: sum over the layers; bytes unless the table was made with another cost.
        error: sum over the layers.
        measured: error of the whole network; None if it was not measured.
    """

    measure: str
    layers: tuple[AllocatedLayer, ...]
    packed: Mapping[str, PackedWeight]
    cost: float
    error: float
    measured: float | None

    @property
    def nbytes(self) -> int:
        """Bytes of the weights in the file."""
        return sum(packed.nbytes for packed in self.packed.values())

    @property
    def bits(self) -> float:
        """Bits of each weight on average; scales, index and codebooks counted."""
        return self.nbytes * 8 / sum(math.prod(packed.shape) for packed in self.packed.values())

    def rule(self, weight: Weight) -> PackedWeight | None:
        """For ``Encode``."""
        return self.packed.get(weight.value.name or "")


def allocate(
    table: Sensitivities, *, cost: float | None = None, bits: float | None = None, evaluations: int = 16
) -> Allocation:
    """The allocation of the least error within a budget.

    Args:
        cost: most that all weights together may cost (bytes); or
        bits: most bits a weight on average, scales, index and codebooks counted. Give one of the two.
        evaluations: runs over the calibration data that the search for better neighbours may take; 0 takes what the
            knapsack finds. Without calibration data there is no such search.

    Raises:
        RecipeError: no budget or two, or one below the least possible, which it names.
    """
    if (cost is None) == (bits is None):
        raise RecipeError("allocation needs either a cost or a number of bits as its budget")
    if cost is not None:
        size, limit, unit, scale = _cost, cost, "", 1
    else:
        assert bits is not None
        size, limit, unit, scale = _bits, bits * table.elements, " bits a weight", table.elements
    items = _items(table, size)
    found = None if math.isnan(limit) else best(items, limit)
    if found is None:
        least = pareto(items)[0].size
        raise RecipeError(
            f"a budget of {limit / scale:.10g}{unit} cannot be met; the least that the candidates allow is "
            f"{least / scale:.10g}{unit}"
        )
    choice = found.choice
    measured = None
    if table.measure == "outputs" and evaluations:
        choice, measured = _refined(table, items, choice, limit, evaluations)
    return _allocation(table, choice, measured)


def front(table: Sensitivities) -> list[FrontPoint]:
    """The whole front, from the least cost to the least error; errors are added up, not measured together."""
    return [_point(table, point.choice) for point in pareto(_items(table, _cost))]


def uniform(table: Sensitivities) -> list[FrontPoint]:
    """What allocation competes with: each format that every weight can have, in the order of the candidates."""
    specs = [{option.spec: index for index, option in enumerate(layer.options)} for layer in table.layers]
    choices = {spec: tuple(at[spec] for at in specs) for spec in specs[0] if all(spec in other for other in specs)}
    return [_point(table, choice, spec) for spec, choice in choices.items()]


def smallest(table: Sensitivities, bound: float, loss: Callable[[Allocation], float] | None = None) -> Allocation:
    """The cheapest allocation of the front whose loss, measured on the whole network, does not exceed a bound.

    Found by bisection, in as many evaluations as the front's length has binary digits: right where the loss falls
    along the front, and in any case what is returned keeps the bound.

    Args:
        loss: measures an allocation, for example a drop of accuracy; None measures the error of the outputs.

    Raises:
        AccuracyError: even the allocation of the least error exceeds the bound.
        DataError: ``loss`` is None and the table was made without calibration data.
    """
    points = front(table)

    def measure(at: int) -> tuple[Allocation, float]:
        choice = points[at].choice
        if loss is None:
            error = table.joint(choice)
            return _allocation(table, choice, error), error
        made = _allocation(table, choice, None)
        return made, loss(made)

    kept, value = measure(len(points) - 1)
    if not value <= bound:
        raise AccuracyError(f"the bound of {bound:g} cannot be kept: the best allocation has {value:g}")
    low, high = 0, len(points) - 1  # points below low are too cheap, high keeps the bound
    while low < high:
        middle = (low + high) // 2
        made, value = measure(middle)
        if value <= bound:
            kept, high = made, middle
        else:
            low = middle + 1
    return kept


def _refined(
    table: Sensitivities, items: Items, choice: tuple[int, ...], limit: float, evaluations: int
) -> tuple[tuple[int, ...], float]:
    """Descends among neighbours by measured error; those with the least added-up error are tried first."""
    least, tried = table.joint(choice), {choice}
    fitting = [point for point in uniform(table) if _size(items, point.choice) <= limit and math.isfinite(point.error)]
    if fitting and evaluations > 1:
        same = min(fitting, key=lambda point: point.error).choice
        if same not in tried:
            tried.add(same)
            measured = table.joint(same)
            if measured < least:
                choice, least = same, measured
    for _ in range(evaluations - len(tried)):
        # At most so many of the nearest have been tried.
        nearest = heapq.nsmallest(len(tried) + 1, _exchanges(items, choice, limit))
        untried = [new for _, moves in nearest if (new := _moved(choice, moves)) not in tried]
        if not untried:
            break
        tried.add(untried[0])
        measured = table.joint(untried[0])
        if measured < least:
            choice, least = untried[0], measured
    return choice, least


def _size(items: Items, choice: Sequence[int]) -> float:
    return sum(item[index][0] for item, index in zip(items, choice, strict=True))


def _exchanges(items: Items, choice: tuple[int, ...], limit: float) -> Iterator[tuple[float, Moves]]:
    """Changes of one layer, or of two in opposite directions, within the limit; with the errors that they add."""
    slack = limit - _size(items, choice)
    steps = [
        (other[0] - item[choice[at]][0], other[1] - item[choice[at]][1], (at, index))
        for at, item in enumerate(items)
        for index, other in enumerate(item)
        if index != choice[at] and math.isfinite(other[1])
    ]
    shrink = [step for step in steps if step[0] <= 0]
    for more, error, move in steps:
        if more <= slack and (more > 0 or error < 0):
            yield error, (move,)
        if more > 0:
            for less, other, down in shrink:
                if down[0] != move[0] and more + less <= slack:
                    yield error + other, (move, down)


def _moved(choice: tuple[int, ...], moves: Moves) -> tuple[int, ...]:
    new = list(choice)
    for at, index in moves:
        new[at] = index
    return tuple(new)


def _cost(option: Option) -> float:
    return option.cost


def _bits(option: Option) -> float:
    return option.packed.nbytes * 8


def _point(table: Sensitivities, choice: tuple[int, ...], uniform: str = "") -> FrontPoint:
    options = table.options(choice)
    bits = sum(option.packed.nbytes for option in options) * 8 / table.elements
    return FrontPoint(
        sum(option.cost for option in options), bits, sum(option.error for option in options), choice, uniform
    )


def _items(table: Sensitivities, size: Callable[[Option], float]) -> Items:
    return [[(size(option), option.error) for option in layer.options] for layer in table.layers]


def _allocation(table: Sensitivities, choice: Sequence[int], measured: float | None) -> Allocation:
    options = table.options(choice)
    layers = tuple(
        AllocatedLayer(
            layer.layer,
            layer.weight.value.name or "",
            option.spec,
            option.cost,
            option.packed.bits_per_weight,
            option.error,
        )
        for layer, option in zip(table.layers, options, strict=True)
    )
    return Allocation(
        table.measure,
        layers,
        {layer.weight: option.packed for layer, option in zip(layers, options, strict=True)},
        sum(option.cost for option in options),
        sum(option.error for option in options),
        measured,
    )
