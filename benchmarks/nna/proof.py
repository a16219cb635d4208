"""Whether the interpreter computes what LiteRT computes, on command streams that Vela made."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.nna.litert import Reference
from benchmarks.nna.networks import NETWORKS
from benchmarks.nna.vela import compile_model


@dataclass(frozen=True)
class Result:
    """One network on one accelerator.

    Attributes:
        compared: output elements, over all inputs tried.
        differing: how many of them are not equal.
        distinct: different values among the expected outputs; few would prove little.
        stream_bytes: of the driver payload.
        weight_bytes: of weights, scales and tables.
    """

    network: str
    accelerator: str
    core: str
    compared: int
    differing: int
    distinct: int
    stream_bytes: int
    weight_bytes: int


def prove(network: str, accelerator: str, core: str, folder: Path, rounds: int = 2) -> Result:
    """Compiles a network with Vela and runs it on random inputs, beside LiteRT's reference kernels."""
    model = NETWORKS[network]()
    reference = Reference(model)
    compiled = compile_model(model, accelerator, core, folder)
    compared = differing = distinct = 0
    for seed in range(rounds):
        inputs = reference.random_inputs(seed)
        expected, got = reference.run(inputs), compiled.run(inputs)
        # Raw output names no tensors, and the legacy core does not keep their order: outputs are matched by content.
        pairs = list(zip(expected, got, strict=True)) if core == "regor" else _match(expected, got)
        compared += sum(want.size for want in expected)
        differing += sum(_difference(want, have) for want, have in pairs)
        distinct = max(distinct, len(np.unique(np.concatenate([want.ravel() for want in expected]))))
    return Result(
        network, accelerator, core, compared, differing, distinct, len(compiled.payload), compiled.weights.size
    )


def inputs_of(network: str) -> int:
    """How many inputs a network has."""
    return len(Reference(NETWORKS[network]()).random_inputs(0))


def _difference(want: NDArray[Any], have: NDArray[Any]) -> int:
    if want.size != have.size or want.dtype != have.dtype:
        return want.size
    return int((want.ravel() != have.ravel()).sum())


def _match(expected: list[NDArray[Any]], got: list[NDArray[Any]]) -> list[tuple[NDArray[Any], NDArray[Any]]]:
    """Each expected output with the one left that it differs from least."""
    left, pairs = list(got), []
    for want in expected:
        best = min(range(len(left)), key=lambda i: _difference(want, left[i]))
        pairs.append((want, left.pop(best)))
    return pairs
