"""Networks against onnxruntime in fp32, dense or compressed: MobileNetV2, ResNet-18, AlexNet at 224x224, batch 1.

    python benchmarks/networks.py [--compressed] [--network resnet18] [--target cpu] [--threads 1] [--rounds 15]
                                  [--json out.json]

Compressed: int8 weights and activations, 80 % of the 16x4 blocks pruned (AlexNet: dense int8 convolutions, fully
connected layers int4 with 90 % pruned). Nothing is trained, so these networks know nothing: speed is what is measured,
and that the artifact computes what onnxruntime computes of the compressed ONNX.

Weights are random (the arithmetic does not care), the graphs are built here as ONNX. Both programs run in one process,
in turns (A B A B ...) of a hot loop each, as in fc.py and conv.py: ours called from C where there is a compiler, theirs
with memory bound before; neither spins. A round's ratio is our time over onnxruntime's in that round. The table gives
medians over rounds, of wall time and of CPU time of the whole process, since other work on the machine blurs wall time
more. Bars, of wall ratios with one thread: 1 dense; compressed .25, .15 and .10.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import tilewright
from benchmarks.layers import bound, session
from benchmarks.timing import FromC, Loop, has_compiler, interleave, repeated
from tilewright.runtime import Session

BAR = 1.0
_PRUNED = {"density": 0.2, "layout": "block_sparse(16,4)", "pivot": False}
_INT8 = {"weights": "int8", "activations": 8}
_WHOLE = {"name": "conv.0", "density": 1.0}  # three input channels
# By network: recipe and bar.
COMPRESSED: dict[str, tuple[dict[str, Any], float]] = {
    "mobilenet_v2": (
        {"prune": _PRUNED, "quantize": _INT8, "layer": [_WHOLE, {"kind": "depthwise", "density": 1.0}]},
        0.25,
    ),
    "resnet18": ({"prune": _PRUNED, "quantize": _INT8, "layer": [_WHOLE]}, 0.15),
    "alexnet": (
        {
            "quantize": _INT8,
            "layer": [{"name": "gemm*", "weights": "int4", "density": 0.1, "layout": "block_sparse(16,4)"}],
        },
        0.10,
    ),
}


class Graph:
    """An ONNX graph under construction; layers return the name of their output."""

    def __init__(self, seed: int = 0) -> None:
        self.random = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.channels = {"x": 3}

    def node(self, op: str, *inputs: str, channels: int, **attributes: Any) -> str:
        name = f"{op.lower()}.{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [name], name=name, **attributes))
        self.channels[name] = channels
        return name

    def weight(self, *shape: int, scale: float) -> str:
        name = f"w.{len(self.weights)}"
        array = self.random.standard_normal(shape, dtype=np.float32) * np.float32(scale)
        self.weights.append(numpy_helper.from_array(array, name))
        return name

    def conv(self, x: str, out: int, kernel: int, stride: int = 1, pad: int = 0, groups: int = 1, act: str = "") -> str:
        fan_in = self.channels[x] // groups * kernel * kernel
        weight = self.weight(out, self.channels[x] // groups, kernel, kernel, scale=(2 / fan_in) ** 0.5)
        bias = self.weight(out, scale=0.1)
        y = self.node(
            "Conv", x, weight, bias, channels=out, strides=[stride] * 2, pads=[pad] * 4, group=groups
        )  # kernel_shape is the weight's
        if act == "Clip":
            low, high = self.scalar(0.0), self.scalar(6.0)
            return self.node("Clip", y, low, high, channels=out)
        return self.node(act, y, channels=out) if act else y

    def scalar(self, value: float) -> str:
        name = f"w.{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.array(value, np.float32), name))
        return name

    def pool(self, x: str, kernel: int, stride: int, pad: int = 0) -> str:
        return self.node(
            "MaxPool", x, channels=self.channels[x], kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[pad] * 4
        )

    def dense(self, x: str, features: int, out: int, act: str = "") -> str:
        weight = self.weight(out, features, scale=(2 / features) ** 0.5)
        y = self.node("Gemm", x, weight, self.weight(out, scale=0.1), channels=out, transB=1)
        return self.node(act, y, channels=out) if act else y

    def model(self, y: str) -> onnx.ModelProto:
        """The finished model: x [1, 3, 224, 224] to y [1, 1000]."""
        self.nodes[-1].output[0] = "y"
        graph = helper.make_graph(
            self.nodes,
            "network",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 224, 224])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1000])],
            self.weights,
        )
        assert self.nodes[-1].name == y
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def mobilenet_v2() -> onnx.ModelProto:
    """Sandler et al. 2018, width 1.0."""
    g = Graph()
    x = g.conv("x", 32, 3, 2, 1, act="Clip")
    for expand, out, repeats, stride in (
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    ):
        for index in range(repeats):
            first = stride if index == 0 else 1
            hidden = g.channels[x] * expand
            y = g.conv(x, hidden, 1, act="Clip") if expand != 1 else x
            y = g.conv(y, hidden, 3, first, 1, groups=hidden, act="Clip")
            y = g.conv(y, out, 1)
            x = g.node("Add", x, y, channels=out) if first == 1 and g.channels[x] == out else y
    x = g.conv(x, 1280, 1, act="Clip")
    x = g.node("GlobalAveragePool", x, channels=1280)
    x = g.node("Flatten", x, channels=1280)
    return g.model(g.dense(x, 1280, 1000))


def resnet18() -> onnx.ModelProto:
    """He et al. 2015, batch norms folded."""
    g = Graph()
    x = g.pool(g.conv("x", 64, 7, 2, 3, act="Relu"), 3, 2, 1)
    for out, stride in ((64, 1), (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1)):
        y = g.conv(g.conv(x, out, 3, stride, 1, act="Relu"), out, 3, 1, 1)
        short = x if stride == 1 and g.channels[x] == out else g.conv(x, out, 1, stride)
        x = g.node("Relu", g.node("Add", y, short, channels=out), channels=out)
    x = g.node("GlobalAveragePool", x, channels=512)
    x = g.node("Flatten", x, channels=512)
    return g.model(g.dense(x, 512, 1000))


def alexnet() -> onnx.ModelProto:
    """Krizhevsky 2014 (the one-tower variant)."""
    g = Graph()
    x = g.pool(g.conv("x", 64, 11, 4, 2, act="Relu"), 3, 2)
    x = g.pool(g.conv(x, 192, 5, 1, 2, act="Relu"), 3, 2)
    x = g.conv(x, 384, 3, 1, 1, act="Relu")
    x = g.conv(x, 256, 3, 1, 1, act="Relu")
    x = g.pool(g.conv(x, 256, 3, 1, 1, act="Relu"), 3, 2)
    x = g.node("Flatten", x, channels=256)
    x = g.dense(g.dense(x, 9216, 4096, "Relu"), 4096, 4096, "Relu")
    return g.model(g.dense(x, 4096, 1000))


NETWORKS: dict[str, Callable[[], onnx.ModelProto]] = {
    "mobilenet_v2": mobilenet_v2,
    "resnet18": resnet18,
    "alexnet": alexnet,
}


def measure(name: str, target: str, threads: int, rounds: int, compressed: bool = False) -> dict[str, Any]:
    """One row of the table: compile, compare, time."""
    model = NETWORKS[name]()
    x = np.random.default_rng(1).standard_normal((1, 3, 224, 224), dtype=np.float32)
    small = tilewright.compress(model, COMPRESSED[name][0], calibration={"x": x}) if compressed else model
    begin = time.process_time()
    artifact = tilewright.compile(small, target=target)
    compile_seconds = time.process_time() - begin
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{name}.tw"
        artifact.save(path)
        with Session(path, threads=threads) as runtime:
            expected, got = session(small, threads).run(None, {"x": x})[0], runtime.run({"x": x})["y"]
            ours: Loop = repeated(lambda: runtime.run({"x": x}))
            with ExitStack() as stack:
                if has_compiler():
                    ours = in_c = FromC(path, x, got.size, threads)
                    stack.callback(in_c.close)
                rival = repeated(bound(session(model, threads), {"x": x}))
                times = interleave({"onnxruntime": rival, "tilewright": ours}, rounds)
    wall, cpu = times["tilewright"].over(times["onnxruntime"])
    return {
        "network": name,
        "target": artifact.plan.target,
        "threads": threads,
        "onnxruntime_ms": times["onnxruntime"].median_us / 1e3,
        "tilewright_ms": times["tilewright"].median_us / 1e3,
        "wall_ratio": wall,
        "cpu_ratio": cpu,
        "relative_l2": float(np.linalg.norm(got - expected) / np.linalg.norm(expected)),
        "compile_cpu_s": compile_seconds,
        "bytes": len(artifact.to_bytes()),
        "bar": COMPRESSED[name][1] if compressed else BAR,
        "rounds": rounds,
    }


_HEAD = (
    "network        target        thr  onnxruntime   tilewright   ratio wall   ratio cpu   rel. L2   compile"
    "        bytes"
)


def _line(row: dict[str, Any]) -> str:
    return (
        f"{row['network']:<14} {row['target']:<13} {row['threads']:>3} {row['onnxruntime_ms']:>9.2f} ms"
        f" {row['tilewright_ms']:>9.2f} ms {row['wall_ratio']:>12.2f} {row['cpu_ratio']:>11.2f}"
        f" {row['relative_l2']:>9.1e} {row['compile_cpu_s']:>7.1f} s {row['bytes']:>12,}"
    )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", action="append", choices=NETWORKS, help="only this one (repeatable)")
    parser.add_argument("--compressed", action="store_true", help="pruned and quantized, by the recipes in this file")
    parser.add_argument("--target", default="cpu")
    parser.add_argument("--threads", type=int, action="append", help="repeatable; default 1")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", type=Path, help="write the rows here")
    options = parser.parse_args(arguments)
    rows = []
    print(_HEAD)
    for threads in options.threads or [1]:
        for name in options.network or NETWORKS:
            row = measure(name, options.target, threads, options.rounds, options.compressed)
            rows.append(row)
            print(_line(row), flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")
    missed = [row["network"] for row in rows if row["threads"] == 1 and row["wall_ratio"] > row["bar"]]
    if missed:
        print(f"over the bar: {', '.join(missed)}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
