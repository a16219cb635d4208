"""LiteRT's reference kernels: what the interpreter is compared with."""

from __future__ import annotations

from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from numpy.typing import NDArray


class Reference:
    """A model in LiteRT with its BUILTIN_REF kernels: plain loops, no delegate."""

    def __init__(self, model: bytes) -> None:
        self._interpreter = Interpreter(model_content=model, experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
        self._interpreter.allocate_tensors()

    def random_inputs(self, seed: int) -> list[NDArray[Any]]:
        """Inputs over the whole range of their types, in the model's order."""
        random = np.random.default_rng(seed)
        inputs = []
        for detail in self._interpreter.get_input_details():
            info = np.iinfo(detail["dtype"])
            inputs.append(random.integers(info.min, info.max + 1, detail["shape"]).astype(detail["dtype"]))
        return inputs

    def run(self, inputs: list[NDArray[Any]]) -> list[NDArray[Any]]:
        """Outputs in the model's order."""
        for detail, array in zip(self._interpreter.get_input_details(), inputs, strict=True):
            self._interpreter.set_tensor(detail["index"], array)
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(detail["index"]) for detail in self._interpreter.get_output_details()]
