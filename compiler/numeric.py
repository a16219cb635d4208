"""Small numeric helpers that need NumPy alone: test inputs, and how far one tensor is from another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt


class TensorSpec(Protocol):
    """Anything with a name, a NumPy dtype name and a static shape."""

    @property
    def name(self) -> str: ...
    @property
    def dtype(self) -> Any: ...
    @property
    def shape(self) -> tuple[int, ...]: ...


def sample_inputs(inputs: Sequence[TensorSpec], seed: int = 0) -> dict[str, npt.NDArray[Any]]:
    """Random inputs: standard normal floats; integers 0 or 1, which are valid indices and masks for any model."""
    rng = np.random.default_rng(seed)
    samples = {}
    for tensor in inputs:
        if np.issubdtype(np.dtype(tensor.dtype), np.floating):
            samples[tensor.name] = rng.standard_normal(tensor.shape).astype(tensor.dtype)
        else:
            samples[tensor.name] = rng.integers(0, 2, tensor.shape).astype(tensor.dtype)
    return samples


def relative_l2(got: npt.NDArray[Any], want: npt.NDArray[Any]) -> float:
    """|got - want| / |want| over all elements, in double precision.

    Elements that are equal, both NaN or the same infinity count as zero difference; |got - want| where ``want`` is all
    zero; inf where the shapes differ; NaN or inf where only one of the two is not finite.
    """
    if got.shape != want.shape:
        return float("inf")
    a, b = np.asarray(got, np.float64), np.asarray(want, np.float64)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    difference = np.linalg.norm((a[~same] - b[~same]).ravel())
    scale = np.linalg.norm(b[np.isfinite(b)].ravel())
    return float(difference / scale) if scale > 0 else float(difference)
