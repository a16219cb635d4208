"""Single layers for the benchmarks of speed: as ONNX with random weights, and compressed and compiled by a recipe."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

import tilewright
from tilewright import compression
from tilewright.formats.layouts.block_sparse import BlockSparse
from tilewright.numeric import relative_l2

Array = npt.NDArray[np.float32]
Block = tuple[int, int]

SAMPLES = 8  # for activations with a fixed range


@dataclass(frozen=True)
class Layer:
    """A matrix product or a convolution with bias, from x to y.

    Attributes:
        x: shape of the input, [rows, depth] or [1, channels, height, width].
        w: shape of the weight, [outputs, depth] or [outputs, channels, height, width].
        pad: of a convolution, on all sides.
    """

    name: str
    x: tuple[int, ...]
    w: tuple[int, ...]
    pad: int = 0

    @property
    def y(self) -> tuple[int, ...]:
        if len(self.w) == 2:
            return self.x[0], self.w[0]
        return (
            1,
            self.w[0],
            *(side + 2 * self.pad - kernel + 1 for side, kernel in zip(self.x[2:], self.w[2:], strict=True)),
        )

    @property
    def operations(self) -> int:
        """Multiplications and additions."""
        return 2 * math.prod(self.w) * math.prod(self.y) // self.w[0]

    def matrix(self, block: Block | None = None, density: float = 1.0, seed: int = 0) -> Array:
        """Random weights [outputs, taps * channels]; with a block, all but the largest blocks are zero."""
        rng = np.random.default_rng(seed)
        depth = math.prod(self.w[1:])
        weights = rng.standard_normal((self.w[0], depth), dtype=np.float32) * np.float32(depth**-0.5)
        if block is None or density >= 1:
            return weights
        return np.where(BlockSparse(*block).prune(weights, density), weights, np.float32(0))

    def weight(self, matrix: Array) -> Array:
        """Such a matrix as the operator's weight."""
        if len(self.w) == 2:
            return matrix
        outputs, channels, height, width = self.w
        return np.ascontiguousarray(matrix.reshape(outputs, height, width, channels).transpose(0, 3, 1, 2))

    def bias(self) -> Array:
        return np.random.default_rng(1).standard_normal(self.w[0], dtype=np.float32) * np.float32(0.1)

    def sample(self, seed: int = 2) -> Array:
        """An input; in tests of speed only its shape counts, but errors should be those of plausible activations."""
        return np.random.default_rng(seed).standard_normal(self.x, dtype=np.float32)

    def samples(self) -> dict[str, Array]:
        """Calibration data."""
        return {"x": np.stack([self.sample(100 + number) for number in range(SAMPLES)])}

    def model(self, matrix: Array) -> onnx.ModelProto:
        """ONNX of this layer with these weights."""
        inputs = ["x", "w", "b"]
        if len(self.w) == 2:
            node = helper.make_node("Gemm", inputs, ["y"], name=self.name, transB=1)
        else:
            node = helper.make_node("Conv", inputs, ["y"], name=self.name, pads=[self.pad] * 4)
        graph = helper.make_graph(
            [node],
            "layer",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, self.x)],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, self.y)],
            [numpy_helper.from_array(self.weight(matrix), "w"), numpy_helper.from_array(self.bias(), "b")],
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@dataclass(frozen=True)
class Form:
    """How the weight of a layer is compressed.

    Attributes:
        block: of block-sparse weights; None is dense.
        weights: codec; None is fp32.
        activations: "float", "dynamic" (8 bits by the range at hand) or "static" (8 bits by calibration).
    """

    name: str
    block: Block | None = None
    density: float = 1.0
    weights: str | None = None
    activations: str = "float"

    @property
    def recipe(self) -> dict[str, Any] | None:
        """None is fp32, dense."""
        recipe: dict[str, Any] = {}
        if self.block is not None:
            layout = "block_sparse({},{})".format(*self.block)
            recipe["prune"] = {"density": self.density, "layout": layout, "pivot": False}
        if self.weights is not None:
            recipe["quantize"] = {"weights": self.weights}
            if self.activations != "float":
                recipe["quantize"] |= {"activations": 8, "dynamic": self.activations == "dynamic"}
        return recipe or None


@dataclass(frozen=True)
class Built:
    """A layer compressed and compiled.

    Attributes:
        path: the artifact.
        kernels: that one run launches.
        weight_bytes: of all constants in the file: packed weights, index, scales, bias.
        file_bytes: of everything.
        model: the ONNX that was compiled; floats: before compression, with the same zeros.
        note: of the report, such as why the weight is unpacked at load.
    """

    path: Path
    kernels: tuple[str, ...]
    weight_bytes: int
    file_bytes: int
    model: onnx.ModelProto
    floats: onnx.ModelProto
    compile_cpu_s: float
    note: str


def build(layer: Layer, form: Form, target: str, folder: Path) -> Built:
    """Compresses float weights that have the structure of ``form`` already, so that errors are those of encoding."""
    floats = layer.model(layer.matrix(form.block, form.density))
    begin, model = time.process_time(), floats
    if form.recipe is not None:
        samples = layer.samples() if form.activations == "static" else None
        model = compression.compress(floats, form.recipe, calibration=samples)
    artifact = tilewright.compile(model, target)
    seconds = time.process_time() - begin
    path = folder / f"{layer.name}-{layer.x[0]}-{form.name}.tw".replace(" ", "-").replace("%", "")
    artifact.save(path)
    sizes = artifact.sizes()
    kernels = tuple(launch.kernel for launch in artifact.plan.launches)
    note = "; ".join(row.note for row in artifact.report.layers if row.note)
    return Built(path, kernels, sum(sizes.constants.values()), path.stat().st_size, model, floats, seconds, note)


def session(model: onnx.ModelProto, threads: int = 1) -> onnxruntime.InferenceSession:
    """onnxruntime's own best: all graph optimisations, no spinning."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def bound(runtime: onnxruntime.InferenceSession, feeds: Mapping[str, Array]) -> Any:
    """A call with inputs and outputs bound before, which costs least from Python."""
    binding = runtime.io_binding()
    for name, array in feeds.items():
        binding.bind_cpu_input(name, array)
    for output in runtime.get_outputs():
        binding.bind_output(output.name)
    return lambda: runtime.run_with_iobinding(binding)


def errors(layer: Layer, built: Built, got: Array) -> tuple[float, float]:
    """Relative L2 of our output from onnxruntime's of the compressed model, and from that of the float weights."""
    feeds = {"x": layer.sample()}
    wanted, exact = (session(model).run(None, feeds)[0] for model in (built.model, built.floats))
    return relative_l2(got, wanted), relative_l2(got, exact)
