"""One-operator models in LiteRT's reference kernels: what tilewright.integer is compared with."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("ai_edge_litert", reason="no LiteRT: pip install 'tilewright[nna]'")

from benchmarks.nna import layers
from benchmarks.nna.litert import Reference
from benchmarks.nna.tflite import Builder, Tensor
from tilewright.integer.elementwise import Affine

__all__ = ["Builder", "Tensor", "affine", "constants", "layers", "run"]


def run(builder: Builder, *outputs: Tensor, seed: int = 0) -> tuple[list[NDArray[Any]], list[NDArray[Any]]]:
    """Random inputs over the types' whole ranges, and LiteRT's outputs."""
    reference = Reference(builder.finish(*outputs))
    inputs = reference.random_inputs(seed)
    return inputs, reference.run(inputs)


def affine(tensor: Tensor) -> Affine:
    """A tensor's quantization."""
    return Affine(tensor.scale, tensor.zero, tensor.dtype)


def constants(builder: Builder) -> list[tuple[NDArray[Any], NDArray[Any]]]:
    """Values and scales of the model's constants, in the order of their creation."""
    names = {9: "int8", 7: "int16", 2: "int32", 4: "int64"}
    found = []
    for tensor in builder.tensors:
        if tensor.buffer:
            data = builder.buffers[tensor.buffer].data.tobytes()
            values = np.frombuffer(data, names[tensor.type]).reshape(tensor.shape)
            scales = np.asarray(tensor.quantization.scale if tensor.quantization else [], np.float32)
            found.append((values, scales))
    return found
