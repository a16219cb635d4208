"""Smoothing: moves what makes activations hard to quantize into the weights that multiply them.

Xiao et al. 2022, "SmoothQuant" (arXiv:2211.10438), section 4: some channels of a transformer's activations are tens of
times as large as the others, and one scale a tensor leaves these few bits. X W = (X / s) (s W), so channel i is divided
by s_i = max|X_i|^a / max|W_i|^(1-a), and row i of every weight that reads it multiplied. The exponent a is the one of a
grid, tensor by tensor, whose quantized products err least on calibration data; none where that gains little.

Only what float operators make (normalizations, GELU) is divided: there the quantizer follows in float anyway, and one
multiplication by constants comes before it. Factors are powers of two, as in equalize.py, so that the network computes
the same numbers bit for bit as long as none of them leaves float32's normal range.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from tilewright.passes.activation_plan import Group, Rule, make_plan
from tilewright.passes.add_constant import add_constant
from tilewright.passes.execution import Feed, runner
from tilewright.passes.fake_quantize import fit
from tilewright.passes.weights import Weight, all_weights

Array = npt.NDArray[Any]

EXPONENTS = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
_GAIN = 0.9  # of the squared error, at most: below that, a multiplication is worth it
_ROWS = 1024  # of a tensor, over all samples
_WEIGHT_BITS = 8
_LIMIT = 2.0**12  # of one channel's factor


@dataclass(frozen=True)
class SmoothedTensor:
    """A tensor that integer layers read.

    Attributes:
        tensor: its name.
        layers: what reads it.
        exponent: a; None where the tensor stays as it is.
        before, after: squared error of all layers' products by their squared values.
    """

    tensor: str
    layers: tuple[str, ...]
    exponent: float | None
    before: float
    after: float


@dataclass
class _Seen:
    """What calibration saw of a tensor: each channel's least and largest value, and some rows."""

    low: Array
    high: Array
    rows: list[Array]


class Smooth(ir.passes.InPlacePass):
    """Smooths a normalised model, before its weights are packed.

    Attributes:
        tensors: filled by the pass, in graph order.
    """

    def __init__(self, rule: Rule, feeds: Sequence[Feed]) -> None:
        """
        Args:
            rule: the depth of the activations that a layer reads, or None where they stay float.
            feeds: calibration data, at least one sample.
        """
        super().__init__()
        self.rule = rule
        self.feeds = feeds
        self.tensors: list[SmoothedTensor] = []

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """
        Raises:
            ModelError: onnxruntime cannot run the model.
        """
        weights = {weight.value: weight for weight in all_weights(model.graph)}
        groups = [group for group in make_plan(model.graph, self.rule).groups if _fits(group, weights)]
        if not groups:
            return ir.passes.PassResult(model, False)
        seen = _observe(model, [group.root.name or "" for group in groups], self.feeds)
        for group in groups:
            readers = dict.fromkeys(weights[value] for node in group.users if (value := node.inputs[1]) is not None)
            self._smooth(model, group, list(readers), seen[group.root.name or ""])
        return ir.passes.PassResult(model, any(tensor.exponent is not None for tensor in self.tensors))

    def _smooth(self, model: ir.Model, group: Group, readers: Sequence[Weight], seen: _Seen) -> None:
        trial = _Trial(seen, np.concatenate([weight.matrix for weight in readers]), group.bits)
        best = before = trial.error(np.ones_like(seen.low))
        exponent, factors = None, None
        for candidate in EXPONENTS:
            tried = trial.factors(candidate)
            error = trial.error(tried)
            if error < min(best, _GAIN * before):
                best, exponent, factors = error, candidate, tried
        if factors is not None:
            _divide(model, group, factors)
            for weight in readers:
                weight.store(weight.matrix * factors)
        names = tuple(node.name or "" for node in group.users)
        self.tensors.append(SmoothedTensor(group.root.name or "", names, exponent, before, best))


class _Trial:
    """Products of sampled rows with all weights that read a tensor, [rows, columns], for one choice of factors."""

    def __init__(self, seen: _Seen, matrix: Array, bits: int) -> None:
        self.seen, self.matrix, self.bits = seen, matrix, bits
        self.x = np.concatenate(seen.rows)
        self.exact = self.x @ matrix.T
        self.square = max(float(np.square(self.exact).sum()), np.finfo(np.float32).tiny)

    def factors(self, exponent: float) -> Array:
        """s for each channel, float32 powers of two; 1 for channels that are zero on either side."""
        x, w = np.maximum(-self.seen.low, self.seen.high), np.abs(self.matrix).max(axis=0)
        used = (x > 0) & (w > 0)
        x, w = np.where(used, x, 1.0), np.where(used, w, 1.0)
        wanted = np.clip(x**exponent / w ** (1 - exponent), 1 / _LIMIT, _LIMIT)
        result: Array = np.where(used, np.exp2(np.rint(np.log2(wanted))), 1.0).astype(np.float32)
        return result

    def error(self, factors: Array) -> float:
        """Squared error of the products of quantized operands by their squared values."""
        low, high = float((self.seen.low / factors).min()), float((self.seen.high / factors).max())
        if not np.isfinite(high - low) or low == high:
            return 0.0  # nothing to gain: quantizing refuses it and says why
        rounded = fit(low, high, self.bits).apply(self.x / factors)
        matrix = self.matrix * factors
        steps = np.abs(matrix).max(axis=1, keepdims=True) / (2 ** (_WEIGHT_BITS - 1) - 1)
        steps[steps == 0] = 1
        stored = np.rint(matrix / steps) * steps
        return float(np.square(rounded @ stored.T - self.exact).sum() / self.square)


def _fits(group: Group, weights: dict[ir.Value, Weight]) -> bool:
    """Whether a float tensor is read, as it is, by products with constant weights that nobody else uses."""
    if group.stored or any(value is not group.root for value in group.values) or group.root.producer() is None:
        return False
    for node in group.users:
        weight = node.inputs[1]
        if node.op_type not in ("MatMul", "Gemm") or node.attributes.get_int("transA", 0) != 0:
            return False
        if node.inputs[0] is not group.root or weight is None or weight not in weights:
            return False
        if weight.is_graph_output() or any(use.node not in group.users for use in weight.uses()):
            return False
    return True


def _observe(model: ir.Model, names: Sequence[str], feeds: Sequence[Feed]) -> dict[str, _Seen]:
    run = runner(model, names)
    rng = np.random.default_rng(0)
    share = -(-_ROWS // len(feeds))
    found: dict[str, _Seen] = {}
    for feed in feeds:
        for name, array in run(feed).items():
            rows = array.reshape(-1, array.shape[-1])
            low, high = rows.min(axis=0), rows.max(axis=0)
            known = found.setdefault(name, _Seen(low, high, []))
            known.low, known.high = np.minimum(known.low, low), np.maximum(known.high, high)
            known.rows.append(rows[rng.choice(len(rows), share, replace=False)] if len(rows) > share else rows)
    return found


def _divide(model: ir.Model, group: Group, factors: Array) -> None:
    root, maker = group.root, group.root.producer()
    assert maker is not None
    constant = add_constant(model.graph, f"{root.name}_smoothing", 1 / factors)
    node = ir.node("Mul", [root, constant], name=f"{root.name}_smooth")
    result = node.outputs[0]
    result.name, result.type, result.shape = f"{root.name}_smoothed", root.type, root.shape
    model.graph.insert_after(maker, node)
    for user in group.users:
        user.replace_input_with(0, result)
