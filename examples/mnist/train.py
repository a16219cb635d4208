"""Trains the bundled digit classifier on the full MNIST set and writes mnist.onnx and digits.npz beside this file.

    python -m examples.mnist.train          from the repository root, with the extra "models" installed

Takes about five minutes on two busy cores. Seeds are fixed; another torch release or CPU may still round differently.
The network is scored once, after the last epoch, on the 10,000 test digits; no choice was made by that score.
digits.npz is a random 500 of those test digits, which training never sees.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import nn
from torch.nn import functional

from benchmarks.zoo import mnist
from benchmarks.zoo.graph import Graph

HERE = Path(__file__).parent
SEED = 20
BUNDLED_DIGITS = 500


class DigitNet(nn.Module):
    """Three 3x3 convolutions with batch norm, two poolings, two fully connected layers; 166 k parameters.

    Input: float32 [N, 1, 28, 28], 0 paper to 1 ink. Output: 10 logits.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(16)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(32)
        self.conv3 = nn.Conv2d(32, 32, 3, padding=1, bias=False)
        self.norm3 = nn.BatchNorm2d(32)
        self.fc1 = nn.Linear(32 * 7 * 7, 96)
        self.fc2 = nn.Linear(96, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.max_pool2d(functional.relu(self.norm1(self.conv1(x))), 2)
        x = functional.relu(self.norm2(self.conv2(x)))
        x = functional.max_pool2d(functional.relu(self.norm3(self.conv3(x))), 2)
        x = functional.dropout(functional.relu(self.fc1(x.flatten(1))), 0.3, self.training)
        logits: torch.Tensor = self.fc2(x)
        return logits


def train(epochs: int, batch: int = 128) -> DigitNet:
    """Trains on the 60,000 training digits, shifted at random by up to two pixels."""
    torch.manual_seed(SEED)
    digits = mnist.train()
    images = torch.from_numpy(digits.images.copy()).float().div(255).unsqueeze(1)
    labels = torch.from_numpy(digits.labels.astype(np.int64))
    padded = functional.pad(images, (2, 2, 2, 2))
    net = DigitNet()
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=1e-2)
    steps = epochs * (len(images) // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=4e-3, total_steps=steps)
    for epoch in range(epochs):
        start, total = time.monotonic(), 0.0
        for rows in torch.randperm(len(images))[: steps // epochs * batch].view(-1, batch):
            dy, dx = torch.randint(0, 5, (2,)).tolist()
            loss = functional.cross_entropy(net(padded[rows, :, dy : dy + 28, dx : dx + 28]), labels[rows])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            total += loss.item()
        print(f"epoch {epoch + 1}/{epochs}  loss {total * epochs / steps:.4f}  {time.monotonic() - start:.0f} s")
    net.eval()
    return net


def export(net: DigitNet) -> onnx.ModelProto:
    """The trained network as ONNX: input "image" [N, 1, 28, 28], output "logits" [N, 10]."""
    state = {name: tensor.contiguous().numpy() for name, tensor in net.state_dict().items()}
    graph = Graph("mnist")
    x = graph.input("image", ["N", 1, 28, 28])
    for index in (1, 2, 3):
        norm = [f"norm{index}.{part}" for part in ("weight", "bias", "running_mean", "running_var")]
        kernel = graph.weight(f"conv{index}.weight", state[f"conv{index}.weight"])
        x = graph.node("Conv", f"conv{index}", x, kernel, kernel_shape=[3, 3], pads=[1, 1, 1, 1])
        x = graph.node("BatchNormalization", f"norm{index}", x, *(graph.weight(p, state[p]) for p in norm))
        x = graph.node("Relu", f"relu{index}", x)
        if index != 2:
            x = graph.node("MaxPool", f"pool{index}", x, kernel_shape=[2, 2], strides=[2, 2])
    x = graph.node("Flatten", "flatten", x)
    x = graph.node("Gemm", "fc1", x, *_linear(graph, state, "fc1"), transB=1)
    x = graph.node("Relu", "relu4", x)
    x = graph.node("Gemm", "logits", x, *_linear(graph, state, "fc2"), transB=1)
    return graph.model({x: ["N", 10]})


def _linear(graph: Graph, state: dict[str, np.ndarray], layer: str) -> list[str]:
    return [graph.weight(name, state[name]) for name in (f"{layer}.weight", f"{layer}.bias")]


def accuracy(net: DigitNet, digits: mnist.Digits) -> float:
    """The fraction of `digits` that `net` names right."""
    images = torch.from_numpy(digits.images.copy()).float().div(255).unsqueeze(1)
    with torch.inference_mode():
        guesses = torch.cat([net(part).argmax(1) for part in torch.split(images, 1000)])
    return float((guesses.numpy() == digits.labels).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the bundled digit classifier.")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--out", type=Path, default=HERE, help="folder for mnist.onnx and digits.npz")
    arguments = parser.parse_args()
    net = train(arguments.epochs)
    test = mnist.test()
    count = sum(parameter.numel() for parameter in net.parameters())
    print(f"{count} parameters; accuracy on all {len(test.labels)} test digits: {accuracy(net, test):.2%}")
    onnx.save(export(net), arguments.out / "mnist.onnx")
    chosen = np.sort(np.random.default_rng(SEED).permutation(len(test.labels))[:BUNDLED_DIGITS])
    np.savez_compressed(arguments.out / "digits.npz", images=test.images[chosen], labels=test.labels[chosen])


if __name__ == "__main__":
    main()
