"""Second moments of what weights multiply: E[x x^T] over positions that are sampled from calibration data.

x has the order of a weight matrix's columns (see weights.py): taps x input channels, tap after tap. A convolution's x
is a patch of its padded input.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from tilewright.passes.activation_plan import active_values
from tilewright.passes.execution import Feed, runner
from tilewright.passes.weights import Weight

Array = npt.NDArray[Any]

WIDEST = 12288  # columns; beyond, the moments would need more than 600 MB
_TOGETHER = 1 << 29  # bytes of moments collected in one run over the samples
ALIKE = 8
"""As how many independent samples the positions of one feed count at most."""
_LEAST, _MOST = 2048, 16384  # positions, between which four a column are taken


def moments(
    model: ir.Model, weights: Sequence[Weight], feeds: Sequence[Feed], seed: int = 0
) -> Iterator[tuple[Weight, Array, int]]:
    """The moments of each weight, float32 [groups, columns, columns], and how many independent samples they rest on.

    Groups is 1 but for grouped convolutions. Positions of one feed resemble each other: they count as ALIKE at most.

    Args:
        model: normalised, float; left unchanged.
        weights: those for which ``obstacle`` finds nothing.
        feeds: at least one.
        seed: of the choice of positions.
    """
    sizes = [4 * groups_of(weight) * columns_of(weight) ** 2 for weight in weights]
    first = 0
    while first < len(weights):
        totals = list(itertools.accumulate(sizes[first:]))
        last = first + max(1, sum(total <= _TOGETHER for total in totals))
        yield from _collect(model, weights[first:last], feeds, seed)
        first = last


def obstacle(weight: Weight, model: ir.Model) -> str:
    """Why a weight's input cannot be seen; empty if it can."""
    if weight.operator not in ("Conv", "Gemm", "MatMul"):
        return f"the inputs of {weight.operator} are not sampled"
    if columns_of(weight) > WIDEST:
        return f"{columns_of(weight)} columns are more than {WIDEST}"
    active = active_values(model.graph)
    if not any(use.node.inputs[0] in active for use in weight.value.uses()):
        return "it multiplies no input of the model"
    return ""


def groups_of(weight: Weight) -> int:
    """Groups of a convolution."""
    return int(next(iter(weight.value.uses())).node.attributes.get_int("group", 1)) if weight.operator == "Conv" else 1


def columns_of(weight: Weight) -> int:
    """Columns of the weight matrix."""
    return weight.extents["T"] * weight.extents["C"]


def positions(weight: Weight, feeds: int) -> int:
    """How many positions of each of so many feeds are sampled."""
    return -(-min(max(4 * columns_of(weight), _LEAST), _MOST) // feeds)


def _collect(
    model: ir.Model, weights: Sequence[Weight], feeds: Sequence[Feed], seed: int
) -> Iterator[tuple[Weight, Array, int]]:
    rng = np.random.default_rng(seed)
    users = {weight.value: [use.node for use in weight.value.uses()] for weight in weights}
    names = {value.name or "" for nodes in users.values() for node in nodes if (value := node.inputs[0]) is not None}
    run = runner(model, sorted(names))
    found: dict[ir.Value, Array] = {}
    counts: dict[ir.Value, int] = {}
    independent: dict[ir.Value, int] = {}
    for feed in feeds:
        values = run(feed)
        for weight in weights:
            share = positions(weight, len(feeds))
            for node in users[weight.value]:
                assert node.inputs[0] is not None
                x = rows_of(node, weight, values[node.inputs[0].name or ""], share, rng)
                update = np.matmul(x.transpose(0, 2, 1), x)
                found[weight.value] = found.get(weight.value, 0) + update
                counts[weight.value] = counts.get(weight.value, 0) + x.shape[1]
                independent[weight.value] = independent.get(weight.value, 0) + min(x.shape[1], ALIKE)
    for weight in weights:
        moment = found.pop(weight.value) / np.float32(counts[weight.value])
        yield weight, moment, independent[weight.value]


def rows_of(node: ir.Node, weight: Weight, x: Array, share: int, rng: np.random.Generator) -> Array:
    """Up to ``share`` samples of x, float32 [groups, samples, columns]."""
    if node.op_type == "Conv":
        return _patches(node, weight.array.shape[2:], x, share, rng)
    if node.op_type == "Gemm" and node.attributes.get_int("transA", 0) != 0:
        x = x.T
    rows = x.reshape(-1, x.shape[-1])
    if len(rows) > share:
        rows = rows[rng.choice(len(rows), share, replace=False)]
    by_channel = rows.reshape(len(rows), weight.extents["C"], weight.extents["T"])
    return np.ascontiguousarray(by_channel.transpose(0, 2, 1)).reshape(1, len(rows), -1)


def _patches(node: ir.Node, kernel: Sequence[int], x: Array, share: int, rng: np.random.Generator) -> Array:
    attributes: Mapping[str, ir.Attr] = node.attributes
    rank = len(kernel)
    strides, dilations = (
        list(attributes[name].as_ints()) if name in attributes else [1] * rank for name in ("strides", "dilations")
    )
    assert node.outputs[0].shape is not None
    extents = [int(extent) for extent in node.outputs[0].shape.numpy()[2:]]
    pads = _pads(node, kernel, x.shape[2:], extents, strides, dilations)
    padded = np.pad(x, [(0, 0), (0, 0), *zip(pads[:rank], pads[rank:], strict=True)])
    total = x.shape[0] * int(np.prod(extents))
    chosen = rng.choice(total, share, replace=False) if total > share else np.arange(total)
    image, *corner = np.unravel_index(chosen, (x.shape[0], *extents))
    taps = np.unravel_index(np.arange(int(np.prod(kernel))), tuple(kernel))
    places = [
        at[:, None] * stride + tap * dilation
        for at, stride, tap, dilation in zip(corner, strides, taps, dilations, strict=True)
    ]
    patches = np.moveaxis(padded, 1, -1)[(image[:, None], *places)]  # [samples, taps, channels]
    groups = node.attributes.get_int("group", 1)
    split = patches.reshape(*patches.shape[:2], groups, -1).transpose(2, 0, 1, 3)
    return np.ascontiguousarray(split, np.float32).reshape(groups, len(chosen), -1)


def _pads(
    node: ir.Node,
    kernel: Sequence[int],
    before: Sequence[int],
    after: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
) -> list[int]:
    """Elements added in front along each axis, then behind."""
    mode = node.attributes.get_string("auto_pad", "NOTSET")
    if mode in ("NOTSET", "VALID", None):
        given = node.attributes.get("pads") if mode == "NOTSET" else None
        return list(given.as_ints()) if given is not None else [0] * (2 * len(kernel))
    totals = [
        max((out - 1) * stride + (size - 1) * dilation + 1 - extent, 0)
        for out, stride, size, dilation, extent in zip(after, strides, kernel, dilations, before, strict=True)
    ]
    small, large = [total // 2 for total in totals], [total - total // 2 for total in totals]
    return [*small, *large] if mode == "SAME_UPPER" else [*large, *small]
