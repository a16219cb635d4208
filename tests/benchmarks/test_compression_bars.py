"""The bars of the compression table, on made-up rows."""

from __future__ import annotations

import dataclasses

import pytest

from benchmarks.compression_bars import (
    FLOAT,
    OURS,
    RIVAL,
    Row,
    alexnet,
    bars,
    beats_uniform,
    near_float,
    no_worse,
    not_below,
)
from benchmarks.evaluation import Figures


def figures(score: float, error: float = 0.1, metric: str = "top-1, 1000 images") -> Figures:
    return Figures({metric: score}, None, error)


def row(name: str, size: int, score: float, error: float = 0.1, origin: str = OURS, activations: bool = False) -> Row:
    return Row("net", name, origin, activations, weight_bytes=size, figures=figures(score, error))


FLOAT_FIGURES = figures(0.97, 0.0)


@pytest.mark.parametrize(
    ("metric", "drop", "holds"),
    [("top-1", 0.005, True), ("top-1", 0.006, False), ("words, Spearman", 0.01, True), ("Pearson", 0.011, False)],
)
def test_int8_stays_near_float(metric: str, drop: float, holds: bool) -> None:
    want, got = figures(0.9, metric=metric), figures(0.9 - drop, metric=metric)
    (bar,) = near_float(row("int8", 1, 0.0), got, want)
    assert bar.holds == holds


def test_mixed_depth_must_be_as_small_nearer_and_as_accurate() -> None:
    uniform = row("uniform4", 100_000, 0.9, 0.2)
    assert beats_uniform(row("mixed4", 100_000, 0.9, 0.1), uniform, FLOAT_FIGURES).holds
    assert not beats_uniform(row("mixed4", 102_000, 0.95, 0.1), uniform, FLOAT_FIGURES).holds  # larger
    assert not beats_uniform(row("mixed4", 100_000, 0.95, 0.3), uniform, FLOAT_FIGURES).holds  # farther
    assert not beats_uniform(row("mixed4", 100_000, 0.89, 0.1), uniform, FLOAT_FIGURES).holds  # less accurate
    decided = [dataclasses.replace(figures(0.9, error), agreement=share) for error, share in ((0.1, 0.94), (0.2, 0.95))]
    pair = [dataclasses.replace(uniform, figures=got) for got in decided]
    assert not beats_uniform(pair[0], pair[1], FLOAT_FIGURES).holds  # fewer decisions are float's
    failed = dataclasses.replace(uniform, figures=None, problem="no")
    assert not beats_uniform(row("mixed4", 100_000, 0.9), failed, FLOAT_FIGURES).holds


def test_a_rival_counts_against_rows_of_its_size_and_kind() -> None:
    rival = row("other", 100_000, 0.9, origin=RIVAL, activations=True)
    assert no_worse(rival, [row("int8", 100_900, 0.9, activations=True)], FLOAT_FIGURES).holds
    assert not no_worse(rival, [row("int8", 110_000, 0.95, activations=True)], FLOAT_FIGURES).holds  # larger
    assert not no_worse(rival, [row("int4", 50_000, 0.95)], FLOAT_FIGURES).holds  # keeps its activations float
    assert not no_worse(rival, [row("int8", 90_000, 0.89, 0.2, activations=True)], FLOAT_FIGURES).holds
    assert no_worse(
        dataclasses.replace(rival, activations=False), [row("int8", 90_000, 0.9, activations=True)], FLOAT_FIGURES
    ).holds


def test_additional_scores_are_told_but_not_judged() -> None:
    def with_crops(one: Row, score: float) -> Row:
        assert one.figures is not None
        return dataclasses.replace(one, figures=dataclasses.replace(one.figures, additional={"crops": score}))

    mixed, uniform = row("mixed4", 100_000, 0.9, 0.1), row("uniform4", 100_000, 0.9, 0.2)
    bar = beats_uniform(with_crops(mixed, 0.81), with_crops(uniform, 0.87), FLOAT_FIGURES)
    assert bar.holds
    assert "but crops: 0.8100 against 0.8700" in bar.figure
    assert "but" not in beats_uniform(with_crops(mixed, 0.87), with_crops(uniform, 0.81), FLOAT_FIGURES).figure


def test_agreement_with_float_counts_like_an_accuracy() -> None:
    rival, ours = row("other", 100_000, 0.9, 0.2, origin=RIVAL), row("int8", 100_000, 0.9, 0.1, activations=True)
    assert rival.figures is not None
    assert ours.figures is not None
    rival = dataclasses.replace(rival, figures=dataclasses.replace(rival.figures, agreement=0.95))
    for share, holds in ((0.949, True), (0.94, False)):
        figures = dataclasses.replace(ours.figures, agreement=share)
        assert no_worse(rival, [dataclasses.replace(ours, figures=figures)], FLOAT_FIGURES).holds == holds


def test_chance_is_allowed_only_nearer_to_float() -> None:
    assert not_below(figures(0.8985, 0.1), figures(0.9, 0.2))
    assert not not_below(figures(0.8985, 0.2), figures(0.9, 0.1))
    assert not not_below(figures(0.89, 0.1), figures(0.9, 0.2))


def test_what_is_judged() -> None:
    table = [
        row("float", 400_000, 0.9, 0.0, FLOAT),
        row("int8", 100_000, 0.9, activations=True),
        row("mixed4", 50_000, 0.9, 0.1),
        row("uniform4", 50_000, 0.8, 0.2),
        row("other", 100_000, 0.9, origin=RIVAL),
        Row("net", "absent", RIVAL, problem="not installed"),
    ]
    assert [bar.holds for bar in bars(table)] == [True, True, True]
    failed = Row("net", "astc6x6", OURS, problem="cannot")
    assert [bar.holds for bar in bars([*table, failed])] == [False, True, True, True]


def test_alexnet() -> None:
    assert alexnet(243_818_624, 27_091_000).holds
    assert not alexnet(243_818_624, 27_500_000).holds
    assert not alexnet(200_000_000, 27_091_000).holds
