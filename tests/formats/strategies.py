"""Matrices for property tests: shapes from one row or column up, values of every magnitude that float32 has."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

Matrix = npt.NDArray[np.float32]

SHAPES = st.tuples(st.integers(1, 40), st.integers(1, 150))
EDGE_SHAPES = st.sampled_from([(1, 1), (1, 300), (300, 1), (2, 129)])


@st.composite
def matrices(draw: st.DrawFn, extreme: bool = True) -> Matrix:
    """Normal or heavy-tailed weights, some rows and groups constant or zero.

    Args:
        extreme: also magnitudes from float32's subnormals to its largest values, otherwise 1e-3 to 1e3.
    """
    shape = draw(SHAPES | EDGE_SHAPES)
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    kind = draw(st.sampled_from(["normal", "laplace", "zero", "constant", "positive", "few"]))
    matrix = {
        "normal": lambda: rng.standard_normal(shape),
        "laplace": lambda: rng.laplace(size=shape),
        "zero": lambda: np.zeros(shape),
        "constant": lambda: np.full(shape, rng.standard_normal()),
        "positive": lambda: rng.random(shape) + 1,
        "few": lambda: rng.choice([-0.75, 0.0, 0.5], shape),
    }[kind]()
    if draw(st.booleans()):
        matrix[rng.random(shape[0]) < 0.3] = 0
    if draw(st.booleans()):
        matrix[rng.random(shape) < 0.9] = 0
    exponent = draw(st.integers(-140, 120) if extreme else st.integers(-10, 10))
    with np.errstate(under="ignore"):
        return np.ldexp(matrix, exponent).astype(np.float32)


def row_scaled(shape: tuple[int, int], seed: int = 0) -> Matrix:
    """Normal weights whose channels differ in scale, as those of trained networks do."""
    rng = np.random.default_rng(seed)
    return (rng.standard_normal(shape) * np.exp(rng.standard_normal((shape[0], 1)))).astype(np.float32)


def normal(shape: tuple[int, int], seed: int = 0) -> Matrix:
    """N(0, 1)."""
    return np.random.default_rng(seed).standard_normal(shape, np.float32)
