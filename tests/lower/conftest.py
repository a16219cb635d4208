"""A small Relax model and a toy target: lowering is tested without any real target."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import tvm
from tvm import relax

from tilewright.lower.layers import binding_hint
from tilewright.plan import Image, Module
from tilewright.targets.base import Code, Device, KernelCall, KernelCode, Target


class ToyTarget(Target):
    """Generates nothing; every PrimFunc is one call."""

    family = "toy"
    backend = "cpu"
    description = "for tests"
    tvm_target = tvm.target.Target("llvm")

    def schedule(self, mod: Any) -> Any:
        return mod

    def codegen(self, kernels: Mapping[str, Any]) -> Code:
        code = {
            name: KernelCode((KernelCall(name, 0, tuple(range(len(func.params)))),)) for name, func in kernels.items()
        }
        return Code(code, (Module("toy", (Image("elf", "toy", (), "", b"code"),)),))


@pytest.fixture
def toy_target() -> Target:
    return ToyTarget(Device("toy", {}))


@pytest.fixture
def convolutions() -> Any:
    """Two equal conv+relu pairs around another one, a softmax, a reshaped output, and an input passed through."""
    rng = np.random.default_rng(0)
    w1 = relax.const(rng.standard_normal((8, 3, 3, 3)).astype("float32"))
    w2 = relax.const(rng.standard_normal((3, 8, 3, 3)).astype("float32"))
    builder = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType((1, 3, 16, 16), "float32"))
    with builder.function("main", [x]):
        with builder.dataflow():
            y = builder.emit(relax.op.nn.conv2d(x, w1, padding=1), name_hint=binding_hint("/conv.1/Conv"))
            y = builder.emit(relax.op.nn.relu(y), name_hint=binding_hint("relu 1"))
            y = builder.emit(relax.op.nn.conv2d(y, w2, padding=1), name_hint=binding_hint("conv2"))
            y = builder.emit(relax.op.nn.conv2d(y, w1, padding=1), name_hint=binding_hint("conv3"))
            y = builder.emit(relax.op.nn.relu(y), name_hint=binding_hint("relu3"))
            probabilities = builder.emit(relax.op.nn.softmax(y), name_hint=binding_hint("softmax"))
            flat = builder.emit(relax.op.reshape(y, (1, -1)), name_hint=binding_hint("flatten"))
            result = builder.emit_output(relax.Tuple([flat, probabilities, x, flat]))
        builder.emit_func_output(result)
    return builder.get()
