"""Allocation on the bundled digit classifier: budgets hold to the byte; mixed depths lose less than uniform ones."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from tests.passes.support import run
from tests.passes.test_coupling import network, prepared
from tilewright.errors import AccuracyError, DataError, RecipeError
from tilewright.formats.registry import parse
from tilewright.frontend import load
from tilewright.passes.allocate import Allocation, allocate, front, smallest, uniform
from tilewright.passes.encode import Encode
from tilewright.passes.execution import Feed
from tilewright.passes.sensitivity import Sensitivities, sensitivities

MNIST = Path(__file__).resolve().parents[2] / "examples" / "mnist"
DEPTHS = range(2, 9)
FORMATS = [parse(f"int{bits}") for bits in DEPTHS]
GROUPED = [*FORMATS, *(parse(f"int{bits}(group=32)") for bits in (2, 3, 4))]


@functools.cache
def model() -> ir.Model:
    return load(MNIST / "mnist.onnx", {"image": (1, 1, 28, 28)})


def digits(start: int, count: int) -> list[Feed]:
    with np.load(MNIST / "digits.npz") as data:
        images = data["images"][start : start + count]
    return [{"image": (image.astype(np.float32) / 255)[None, None]} for image in images]


@functools.cache
def table() -> Sensitivities:
    return sensitivities(model(), digits(0, 32), lambda weight: FORMATS)


@functools.cache
def held_out() -> Sensitivities:
    return sensitivities(model(), digits(250, 60), lambda weight: FORMATS)


def indices(made: Allocation) -> list[int]:
    return [[form.spec for form in FORMATS].index(layer.spec) for layer in made.layers]


def everywhere(bits: int) -> list[int]:
    return [bits - DEPTHS[0]] * len(table().layers)


def cost(choice: Sequence[int]) -> float:
    return sum(option.cost for option in table().options(choice))


def test_uniform_formats_are_those_that_all_weights_can_have() -> None:
    points = uniform(table())
    assert [point.uniform for point in points] == [form.spec for form in FORMATS]
    for bits, point in zip(DEPTHS, points, strict=True):
        assert list(point.choice) == everywhere(bits)
        assert point.cost == cost(point.choice)
        assert point.error == sum(option.error for option in table().options(point.choice))
    names = [layer.weight.value.name for layer in table().layers]
    fewer = sensitivities(model(), None, lambda weight: FORMATS[1 if weight.value.name == names[0] else 0 : 4])
    assert [point.uniform for point in uniform(fewer)] == [form.spec for form in FORMATS[1:4]]


@pytest.mark.parametrize("bits", [6, 7])
def test_mixed_depth_beats_uniform_depth_at_equal_size_on_other_digits(bits: int) -> None:
    made = allocate(table(), cost=cost(everywhere(bits)))
    assert made.cost <= cost(everywhere(bits))
    assert held_out().joint(indices(made)) < 0.9 * held_out().joint(everywhere(bits))


@pytest.mark.parametrize("bits", [3, 4, 5])
def test_mixed_depth_is_never_worse_where_one_weight_is_nearly_all(bits: int) -> None:
    """95 % of this network is one weight: at exactly these sizes only it decides, and it has its uniform depth."""
    made = allocate(table(), cost=cost(everywhere(bits)), evaluations=4)
    assert made.measured is not None
    assert made.measured <= table().joint(everywhere(bits))
    assert made.cost <= cost(everywhere(bits))


@pytest.mark.parametrize("bits", [3, 4, 5])
def test_with_groups_to_choose_from_mixed_formats_beat_uniform_depth_there_too(bits: int) -> None:
    """Held-out errors fall to less than half: with groups the large weight can give up a bit, and others gain it."""
    made = allocate(grouped(0), cost=cost(everywhere(bits)), evaluations=4)
    chosen = [[form.spec for form in GROUPED].index(layer.spec) for layer in made.layers]
    assert made.cost <= cost(everywhere(bits))
    assert grouped(250).joint(chosen) < 0.5 * grouped(250).joint(everywhere(bits))


@functools.cache
def grouped(start: int) -> Sensitivities:
    return sensitivities(model(), digits(start, 32), lambda weight: GROUPED)


@pytest.mark.parametrize("bits", [3.3, 4.3, 5.3])
def test_bits_that_no_uniform_depth_uses_up(bits: int) -> None:
    below = int(bits - 0.1)  # scales take 0.01 to 0.02 bits a weight, and more is allowed for
    made = allocate(table(), bits=bits, evaluations=4)
    assert made.bits <= bits
    assert table().elements * made.bits == pytest.approx(8 * made.nbytes)
    assert cost(everywhere(below)) <= bits * table().elements / 8
    assert held_out().joint(indices(made)) < held_out().joint(everywhere(below))


def test_the_search_never_loses_to_the_knapsack() -> None:
    budget = cost(everywhere(5))
    plain, refined = (allocate(table(), cost=budget, evaluations=count) for count in (0, 8))
    assert plain.measured is None
    assert refined.measured is not None
    assert refined.measured <= table().joint(indices(plain))
    assert refined.measured == pytest.approx(table().joint(indices(refined)), rel=1e-6)


def test_the_front_runs_from_the_least_size_to_the_least_error() -> None:
    points = front(table())
    assert points[0].cost == cost(everywhere(2))
    assert points[-1].cost == cost(everywhere(8))
    assert all(a.cost < b.cost and a.bits < b.bits and a.error > b.error for a, b in itertools.pairwise(points))
    least = {bits: min(p.error for p in points if p.cost <= cost(everywhere(bits))) for bits in DEPTHS}
    for bits in DEPTHS:
        assert least[bits] <= sum(option.error for option in table().options(everywhere(bits))) * (1 + 1e-9)


def test_encoding_an_allocation_gives_the_measured_error_and_size() -> None:
    made = allocate(table(), bits=4.5, evaluations=2)
    encoded = model().clone()
    step = Encode(made.rule)
    step(encoded)
    assert sum(layer.packed.nbytes for layer in step.layers) == made.nbytes == made.cost
    feeds = digits(0, 32)
    wanted, got = (np.concatenate([run(one, feed)[0] for feed in feeds]) for one in (model(), encoded))
    relative = np.square(wanted - got).sum() / np.square(wanted).sum()
    assert made.measured == pytest.approx(relative, rel=1e-3)  # float32 sums in another order


def test_the_smallest_that_keeps_a_bound() -> None:
    made = smallest(table(), 1e-3)
    assert made.measured is not None
    assert made.measured <= 1e-3
    assert cost(everywhere(3)) < made.cost < cost(everywhere(8))
    choices = [point.choice for point in front(table())]
    at = choices.index(tuple(indices(made)))
    assert table().joint(choices[at - 1]) > 1e-3
    heard: list[Allocation] = []

    def loss(candidate: Allocation) -> float:
        heard.append(candidate)
        return -candidate.cost

    assert smallest(table(), -cost(everywhere(5)), loss).cost == min(
        point.cost for point in front(table()) if point.cost >= cost(everywhere(5))
    )
    assert len(heard) <= 1 + int(np.ceil(np.log2(len(choices))))
    with pytest.raises(AccuracyError, match="cannot be kept: the best allocation has"):
        smallest(table(), 1e-9)


def test_another_cost_is_what_the_budget_counts() -> None:
    """A cost that falls with the depth of one layer and does not count the others."""
    made = sensitivities(
        prepared(network()),
        None,
        lambda weight: FORMATS,
        cost=lambda weight, packed: packed.shape[1] / packed.nbytes if weight.layer == "fc" else 0.0,
    )
    chosen = allocate(made, cost=sum(layer.options[-1].cost for layer in made.layers))
    assert {layer.spec for layer in chosen.layers} == {FORMATS[-1].spec}
    assert chosen.measured is None


def test_budgets_that_cannot_be() -> None:
    with pytest.raises(RecipeError, match=rf"budget of 1000 cannot be met.* is {cost(everywhere(2)):.0f}"):
        allocate(table(), cost=1000)
    least = cost(everywhere(2)) * 8 / table().elements
    with pytest.raises(RecipeError, match=rf"budget of 1.5 bits a weight cannot be met.* is {least:.6f}\d* bits"):
        allocate(table(), bits=1.5)
    assert allocate(table(), bits=least, evaluations=0).cost == cost(everywhere(2))
    for budget in (-1.0, float("nan")):
        with pytest.raises(RecipeError, match="cannot be met"):
            allocate(table(), cost=budget)
    for both in ({}, {"cost": 1e9, "bits": 4.0}):
        with pytest.raises(RecipeError, match="either a cost or a number of bits"):
            allocate(table(), **both)


def test_depth_zero_for_every_channel_is_refused_by_name() -> None:
    with pytest.raises(DataError, match=r"c1: vbd(.|\n)*fc: vbd\(0.01\): depth 0 for every channel"):
        sensitivities(prepared(network()), None, lambda weight: [parse("vbd(0.01)"), parse("int4")])


def test_a_proxy_cannot_be_measured() -> None:
    made = sensitivities(prepared(network()), None, lambda weight: FORMATS)
    with pytest.raises(DataError, match="only be measured with calibration data"):
        smallest(made, 0.1)
    assert smallest(made, 2e-3, lambda candidate: candidate.error).error <= 2e-3
