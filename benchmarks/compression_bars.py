"""The bars that compressed networks are held against; pure functions of the table's rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.evaluation import Figures

FLOAT, OURS, RIVAL = "float", "tilewright", "rival"
POINTS, CORRELATION = 0.005, 0.01  # how far int8 may be below float: accuracies, and coefficients of correlation
SIZE = 0.01  # sizes count as equal within this share
ALEXNET_MB, ALEXNET_BEFORE_MB = 27.1, 243.8


@dataclass(frozen=True)
class Row:
    """One form of one network.

    Attributes:
        origin: FLOAT, OURS or RIVAL.
        activations: whether activations are quantized too.
        weight_bytes: all constants: weights as stored, scales, codebooks, indices, padding, biases.
        file_bytes: of the ONNX file; 0 where there is none.
        artifact_bytes: of the artifact; 0 where none was made.
        seconds: to make it; near 0 where it came out of the cache.
        problem: why there are no figures.
    """

    model: str
    name: str
    origin: str
    activations: bool = False
    weight_bytes: int = 0
    file_bytes: int = 0
    artifact_bytes: int = 0
    seconds: float = 0.0
    figures: Figures | None = None
    problem: str = ""


@dataclass(frozen=True)
class Bar:
    """A bar, the figures that are held against it, and the outcome."""

    what: str
    figure: str
    holds: bool


def bars(rows: Sequence[Row]) -> Iterator[Bar]:
    """All bars on the rows of one network."""
    (reference,) = [row for row in rows if row.origin == FLOAT]
    assert reference.figures is not None
    ours = {row.name: row for row in rows if row.origin == OURS}
    for row in ours.values():
        if row.problem:
            yield Bar(f"{row.model}, {row.name}: can be made", row.problem, False)
    if "int8" in ours and ours["int8"].figures is not None:
        yield from near_float(ours["int8"], ours["int8"].figures, reference.figures)
    for name, row in ours.items():
        uniform = ours.get(name.replace("mixed", "uniform"))
        if name.startswith("mixed") and uniform is not None:
            yield beats_uniform(row, uniform, reference.figures)
    for row in rows:
        if row.origin == RIVAL and row.figures is not None:
            yield no_worse(row, list(ours.values()), reference.figures)


def near_float(row: Row, got: Figures, want: Figures) -> Iterator[Bar]:
    """Every accuracy of int8 within half a point of float; 0.01 for correlations."""
    for metric, score in want.scores.items():
        allowed = CORRELATION if "Spearman" in metric or "Pearson" in metric else POINTS
        drop = score - got.scores[metric]
        what = f"{row.model}, int8: {metric} within {allowed:g} of float"
        yield Bar(what, f"{score:.4f} -> {got.scores[metric]:.4f}", drop <= allowed + 1e-9)


def beats_uniform(mixed: Row, uniform: Row, reference: Figures) -> Bar:
    """Mixed depth is no larger, nearer to float in outputs and decisions, and as accurate by every judged figure."""
    what = f"{mixed.model}: {mixed.name} beats {uniform.name} at equal size"
    if mixed.figures is None or uniform.figures is None:
        return Bar(what, "not measured", False)
    size = as_small(mixed, uniform)
    agreed = (mixed.figures.agreement or 0.0) >= (uniform.figures.agreement or 0.0)
    nearer = agreed and mixed.figures.error < uniform.figures.error
    better = nearer and not_below(mixed.figures, uniform.figures)
    return Bar(what, compared(mixed, uniform), size and better)


def no_worse(rival: Row, ours: Sequence[Row], reference: Figures) -> Bar:
    """Some row of ours is at most as large, quantizes at least what the rival does, and is no worse in any figure."""
    assert rival.figures is not None
    what = f"{rival.model}: not worse than {rival.name} at equal size"
    fair = [
        row
        for row in ours
        if row.figures is not None and as_small(row, rival) and (row.activations or not rival.activations)
    ]
    good = [row for row in fair if row.figures is not None and not_below(row.figures, rival.figures)]
    if good:
        best = min(good, key=lambda row: row.weight_bytes)
        return Bar(what, compared(best, rival), True)
    near = min(fair, key=lambda row: row.figures.error if row.figures else 0.0, default=None)
    return Bar(what, f"{describe(rival)}; {describe(near) if near else 'nothing of that size'}", False)


def as_small(row: Row, other: Row) -> bool:
    """Whether a row's weights are no larger than the other's, but for what counts as equal."""
    return row.weight_bytes <= other.weight_bytes * (1 + SIZE)


def not_below(got: Figures, other: Figures) -> bool:
    """Whether no judged accuracy and no agreement is lower.

    Two samples, or 0.002, are chance where the outputs are nearer to float.
    """
    slack = 0.002 if got.error <= other.error else 0.0
    pairs = [(got.scores[metric], score) for metric, score in other.scores.items()]
    if got.agreement is not None and other.agreement is not None:
        pairs.append((got.agreement, other.agreement))
    return all(mine >= theirs - slack - 1e-9 for mine, theirs in pairs)


def alexnet(before: int, after: int) -> Bar:
    """ASTC 6x6 everywhere on AlexNet's shapes."""
    figure = f"{before / 1e6:.1f} MB -> {after / 1e6:.2f} MB"
    holds = abs(after / 1e6 / ALEXNET_MB - 1) <= 0.01 and abs(before / 1e6 / ALEXNET_BEFORE_MB - 1) <= 0.01
    return Bar(f"AlexNet, ASTC 6x6: {ALEXNET_MB} MB +- 1 % of {ALEXNET_BEFORE_MB} MB", figure, holds)


def compared(ours: Row, other: Row) -> str:
    """Both rows in a few words, and the additional scores by which the other one is better."""
    assert ours.figures is not None
    assert other.figures is not None
    contrary = [
        f"; but {metric}: {ours.figures.additional[metric]:.4f} against {score:.4f}"
        for metric, score in other.figures.additional.items()
        if ours.figures.additional[metric] < score
    ]
    return f"{describe(ours)}; {describe(other)}{''.join(contrary)}"


def describe(row: Row) -> str:
    """A row in a few words."""
    if row.figures is None:
        return f"{row.name} failed"
    scores = " ".join(f"{score:.4f}" for score in row.figures.scores.values())
    agreement = "" if row.figures.agreement is None else f" agree {row.figures.agreement:.4f}"
    return f"{row.name} {row.weight_bytes:,} bytes {scores}{agreement} error {row.figures.error:.3f}"
