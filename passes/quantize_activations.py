"""Quantizes the activations that integer layers read: post-training quantization in the QDQ form.

See activation_plan.py for which, fake_quantize.py for the nodes. Layers for which there is no usable range stay float,
with the reason. The results of a model are never quantized. What layers give to float ones keeps the whole range that
calibration saw (minmax): a classifier's greatest logits decide, and clipping would make them equal.

Eight bits are QuantizeLinear and DequantizeLinear only where a layer's weight is dequantized from integers too, or the
layer is a MatMul; elsewhere they are FakeQuantize. For in between such pairs onnxruntime (WeightBiasQuantization, since
1.21) silently replaces a float weight of Conv or Gemm by 8-bit integers of one scale a tensor: seen on
EfficientNet-Lite0, where the logits were off by half their norm.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import onnx_ir as ir

from tilewright.errors import ModelError, RecipeError
from tilewright.passes.activation_plan import Fallback, Group, Plan, Rule, candidates, is_integer_use, make_plan
from tilewright.passes.calibrate import Method, Statistics
from tilewright.passes.fake_quantize import BITS, OPSET, Quantizer, apply_quantizer, fit


@dataclass(frozen=True)
class QuantizedTensor:
    """A value that is quantized; ``low`` and ``high`` are its range by the method of calibration."""

    tensor: str
    quantizer: Quantizer
    low: float
    high: float


@dataclass(frozen=True)
class QuantizedLayer:
    """An integer layer and the tensors whose quantizers it reads; ``bits`` is what its rule said, or theirs said."""

    layer: str
    operator: str
    bits: int
    tensors: tuple[str, ...]


def observed(model: ir.Model, rule: Rule, results: int | None = None) -> list[str]:
    """The tensors whose statistics the pass may need: what to give to ``calibrate.collect``."""
    plan = make_plan(model.graph, rule, results=results)
    names = [value.name or "" for group in plan.groups for value in group.values]
    return list(dict.fromkeys(names))


class QuantizeActivations(ir.passes.InPlacePass):
    """Quantizes a normalised model whose opset is at least 13 (RaiseOpset gets it there).

    Attributes:
        layers, tensors, fallbacks: filled by the pass, in graph order.
    """

    def __init__(
        self,
        rule: Rule,
        statistics: Statistics,
        method: Method = "mse",
        percentile: float = 99.99,
        symmetric: bool = False,
        integers: Literal["uint8", "int8"] = "uint8",
        depths: Mapping[str, int] | None = None,
        results: int | None = None,
    ) -> None:
        """
        Args:
            rule: the depth of the activations that a layer reads, 4 to 16 bits, or None to leave it float. A tensor
                that several layers read has the largest depth.
            statistics: of the float model, at least of the tensors that ``observed`` lists.
            method, percentile: see ``Statistics.range``.
            symmetric: zero points are 0; integers are signed where the range has negative values.
            integers: at 8 bits with zero points either type holds any range, and kernels want the same type on all
                sides. onnxruntime fuses more with uint8 on x86, where it has to convert int8 first.
            depths: of tensors, by the name of the one whose distribution decides; they go before the rule's.
            results: depth of linear layers' results that float layers read, or None to leave them float.
        """
        super().__init__()
        self.rule = rule
        self.statistics = statistics
        self.method = method
        self.percentile = percentile
        self.symmetric = symmetric
        self.integers = integers
        self.depths = depths or {}
        self.results = results
        self.layers: list[QuantizedLayer] = []
        self.tensors: list[QuantizedTensor] = []
        self.fallbacks: list[Fallback] = []

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        if model.opset_imports.get("", 1) < OPSET:
            raise ModelError(f"quantized activations need opset {OPSET}, the model has {model.opset_imports.get('')}")
        reasons = {node: "its rule leaves it float" for node in candidates(model.graph) if self._bits(node) is None}
        while True:
            plan = make_plan(model.graph, self._bits, set(reasons), self.results)
            failed = {
                node: reason
                for group in plan.groups
                if (reason := self._obstacle(group))
                for node in group.users
                if node not in reasons
            }
            if not failed:
                break
            reasons.update(failed)
        plan.groups = [group for group in plan.groups if group.maker is None or not self._obstacle(group)]
        tensors = [self._quantizer(group) for group in plan.groups]
        for node, bits in plan.layers.items():
            read = tuple(group.root.name or "" for group in plan.groups if node in group.users)
            given = [self.depths[name] for name in read if name in self.depths]
            self.layers.append(QuantizedLayer(node.name or "", node.op_type, max(given, default=bits), read))
        self.fallbacks = [Fallback(node.name or "", reasons[node]) for node in model.graph if node in reasons]
        for group, tensor in zip(plan.groups, tensors, strict=True):
            around = group.users if group.maker is None else [group.maker]
            _apply(model, plan, group, tensor.quantizer, all(_has_integers(model, node) for node in around))
        self.tensors = tensors
        return ir.passes.PassResult(model, bool(plan.groups))

    def _bits(self, node: ir.Node) -> int | None:
        bits = self.rule(node)
        if bits is not None and bits not in BITS:
            raise RecipeError(f"{node.name}: activations of {bits} bits; they have {BITS[0]} to {BITS[-1]}")
        return bits

    def _obstacle(self, group: Group) -> str:
        """Why a group cannot be quantized; empty if it can."""
        name, dtype = group.root.name or "", group.root.dtype
        seen, producer = self.statistics.histograms.get(name), group.root.producer()
        if producer is not None and producer.op_type == "DequantizeLinear" and producer.domain == "":
            return "its activations are quantized already"
        if dtype is not None and dtype != ir.DataType.FLOAT:
            return f"its operand '{name}' is {dtype.name}, not FLOAT"
        if seen is None or not (seen.total or seen.nonfinite):
            return f"calibration saw no data of '{name}'"
        if seen.nonfinite:
            return f"calibration saw {seen.nonfinite} NaN or infinite values of '{name}'"
        if seen.minimum == seen.maximum == 0:
            return f"'{name}' was zero throughout calibration: its range is unknown"
        return ""

    def _quantizer(self, group: Group) -> QuantizedTensor:
        name = group.root.name or ""
        bits = self.depths.get(name, group.bits)
        method = self.method if group.maker is None else "minmax"
        low, high = self.statistics.range(name, method, bits, self.percentile)
        signed = self.integers == "int8" if bits == 8 else None
        return QuantizedTensor(name, fit(low, high, bits, signed, self.symmetric), low, high)


def _has_integers(model: ir.Model, node: ir.Node) -> bool:
    """Whether a runtime finds integers on both sides, or would not make up its own."""
    if node.op_type not in ("Conv", "ConvTranspose", "Gemm"):
        return True
    weight = node.inputs[1]
    producer = weight.producer() if weight is not None else None
    if producer is None:
        return False
    function = model.functions.get(producer.op_identifier())
    last = function.outputs[producer.outputs.index(weight)].producer() if function is not None else producer
    return last is not None and last.domain == "" and last.op_type == "DequantizeLinear"


def _apply(model: ir.Model, plan: Plan, group: Group, quantizer: Quantizer, standard: bool) -> None:
    values = list(group.values)
    upper = group.root
    for value in group.above:  # up to the layer, as long as clamps between are redundant
        between = upper.producer()
        assert between is not None
        clamp = between.op_type in ("Relu", "Clip")
        if clamp and (not _redundant(between, quantizer) or upper.is_graph_output()):
            break
        if clamp:
            if upper in values:
                values.remove(upper)
            ir.convenience.replace_all_uses_with(upper, value)
            model.graph.remove(between, safe=True)
        values.append(value)
        upper = value
    for value in values:
        _insert(model, plan, value, quantizer, group.stored, standard)


def _insert(model: ir.Model, plan: Plan, value: ir.Value, quantizer: Quantizer, stored: bool, standard: bool) -> None:
    uses = [use for use in value.uses() if stored or is_integer_use(use.node, use.idx, plan)]
    nodes = apply_quantizer(model, value, quantizer, value.name or "", standard)
    for use in uses:
        use.node.replace_input_with(use.idx, nodes[-1].outputs[0])
    producer = value.producer()
    if producer is not None:
        model.graph.insert_after(producer, nodes)
    else:
        model.graph.insert_before(model.graph[0], nodes)


def _redundant(node: ir.Node, quantizer: Quantizer) -> bool:
    """Whether the quantizer saturates where the clamp does."""
    low, high = 0.0, np.inf
    if node.op_type == "Clip":
        ends = [value.const_value if value is not None else None for value in (*node.inputs, None, None)[1:3]]
        if any(value is not None and end is None for value, end in zip(node.inputs[1:3], ends, strict=False)):
            return False  # computed limits
        found = [None if end is None else float(end.numpy().item()) for end in ends]
        low, high = -np.inf if found[0] is None else found[0], np.inf if found[1] is None else found[1]
    integers = quantizer.integers(np.array([low, high]))
    return bool(integers[0] == quantizer.low and integers[1] == quantizer.high)
