"""What a rival is, and the common ground: the same float model for everybody, and the same way to count bytes."""

from __future__ import annotations

import hashlib
import importlib.metadata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir

from benchmarks.zoo.base import Array, Model
from benchmarks.zoo.store import built
from tilewright import frontend

OPSET = 21  # the oldest with 4-bit integers and blocked scales, and old enough for everybody

Feeds = list[dict[str, Array]]


class RivalError(RuntimeError):
    """A rival is not installed or failed on a network; the message is its own, cut short."""


@dataclass(frozen=True)
class Rival:
    """One way in which another program compresses a network.

    Attributes:
        name: program and setting, as in the table.
        package: of which the version counts.
        activations: whether activations are quantized too.
        make: writes the compressed form of a float model (a path), given calibration data, to another path.
    """

    name: str
    package: str
    activations: bool
    make: Callable[[Path, Feeds, Path], None]

    def compress(self, model: Model, source: Path, calibration: Feeds) -> Path:
        """The compressed model; kept in the cache under all that it depends on.

        Raises:
            RivalError: the program is not installed, or it failed.
        """
        try:
            version = importlib.metadata.version(self.package)
        except importlib.metadata.PackageNotFoundError:
            raise RivalError(f"{self.package} is not installed: pip install 'tilewright[rivals]'") from None
        digest = hashlib.sha256(source.read_bytes())
        for code in sorted(Path(__file__).parent.glob(f"{self.package}*.py")):
            digest.update(code.read_bytes())
        for feeds in calibration:
            for name in sorted(feeds):
                digest.update(np.ascontiguousarray(feeds[name]).data)
        name = f"{model.name}-{self.name}-{version}-{digest.hexdigest()[:12]}.onnx".replace(" ", "-")
        try:
            return built(f"rivals/{name}", lambda path: self.make(source, calibration, path))
        except RivalError:
            raise
        except Exception as error:  # whatever a third-party program may raise
            raise RivalError(f"{self.name}: {type(error).__name__}: {' '.join(str(error).split())[:300]}") from error


def float_model(model: Model) -> Path:
    """The float model that everybody starts from: static shapes, constants and batch norms folded, a recent opset."""

    def build(path: Path) -> None:
        graph = ir.to_proto(frontend.load(model.onnx(), model.shapes))
        onnx.save(onnx.version_converter.convert_version(graph, OPSET), path)

    digest = hashlib.sha256(model.onnx().read_bytes()).hexdigest()[:12]
    return built(f"rivals/{model.name}-float-{digest}.onnx", build)


def parameter_bytes(model: onnx.ModelProto) -> int:
    """Bytes of all constants of a model: weights in whatever form, scales, zero points, biases, shapes."""
    return sum(_nbytes(tensor) for tensor in constants(model).values())


def constants(model: onnx.ModelProto) -> Mapping[str, onnx.TensorProto]:
    """Initializers and Constant nodes of the main graph, by name of the value."""
    found = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        for attribute in node.attribute:
            if node.op_type == "Constant" and attribute.name == "value":
                found[node.output[0]] = attribute.t
    return found


def _nbytes(tensor: onnx.TensorProto) -> int:
    elements = int(np.prod(tensor.dims, dtype=np.int64))
    return -(-elements * ir.DataType(tensor.data_type).bitwidth // 8)


def stacked(calibration: Iterable[dict[str, Array]]) -> dict[str, Array]:
    """Calibration data as one array an input, sample after sample along the first axis."""
    feeds = list(calibration)
    return {name: np.concatenate([sample[name] for sample in feeds]) for name in feeds[0]}
