"""Quantizes what layers read to eight bits by the range that it has at that moment; nothing is calibrated.

Each operand becomes the result of ``tilewright.DynamicQuantize``, whose function body is ONNX's DynamicQuantizeLinear
and the way back in float: y = (q - zero_point) * scale with one scale a tensor, uint8. It is no DequantizeLinear,
because between such pairs onnxruntime quantizes float weights too (see quantize_activations.py).
"""

from __future__ import annotations

from collections.abc import Callable

import onnx
import onnx_ir as ir

from tilewright.errors import ModelError, RecipeError
from tilewright.passes.activation_plan import LINEAR

DOMAIN = "tilewright"
DYNAMIC_QUANTIZE = "DynamicQuantize"
OPSET = 13

Rule = Callable[[ir.Node], "int | None"]


class DynamicActivations(ir.passes.InPlacePass):
    """Quantizes the first operands of linear layers of a normalised model.

    Attributes:
        layers: filled by the pass, in graph order: the layers whose activations are quantized.
    """

    def __init__(self, rule: Rule) -> None:
        """
        Args:
            rule: 8 to quantize what a layer reads, or None to leave it float.
        """
        super().__init__()
        self.rule = rule
        self.layers: list[str] = []

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """
        Raises:
            ModelError: an opset before 13.
            RecipeError: layers for which the rule wants another depth than 8.
        """
        if model.opset_imports.get("", 1) < OPSET:
            raise ModelError(f"quantized activations need opset {OPSET}, the model has {model.opset_imports.get('')}")
        chosen = [(node, self.rule(node)) for node in model.graph if node.op_type in LINEAR and node.domain == ""]
        other = [f"{node.name} ({bits} bits)" for node, bits in chosen if bits not in (None, 8)]
        if other:
            raise RecipeError(f"dynamic activations have 8 bits: {', '.join(other)}")
        made: dict[ir.Value, ir.Value] = {}
        for node, bits in chosen:
            value = node.inputs[0]
            if bits is None or value is None or value.const_value is not None or value.dtype != ir.DataType.FLOAT:
                continue
            if value not in made:
                made[value] = _insert(model, node, value)
            node.replace_input_with(0, made[value])
            self.layers.append(node.name or "")
        return ir.passes.PassResult(model, bool(made))


def _insert(model: ir.Model, reader: ir.Node, value: ir.Value) -> ir.Value:
    """A quantizing node for a value, in front of the first that reads it."""
    model.opset_imports.setdefault(DOMAIN, 1)
    if (DOMAIN, DYNAMIC_QUANTIZE, "") not in model.functions:
        function: ir.Function = ir.serde.deserialize_function(_body(model.opset_imports[""]))
        model.functions[function.identifier()] = function
    node = ir.node(DYNAMIC_QUANTIZE, [value], domain=DOMAIN, name=f"{value.name}_quantize")
    result = node.outputs[0]
    result.name, result.type, result.shape = f"{value.name}_quantized", value.type, value.shape
    model.graph.insert_before(reader, node)
    return result


def _body(opset: int) -> onnx.FunctionProto:
    body: onnx.FunctionProto = onnx.parser.parse_function(
        f"""<opset_import: ["" : {opset}], domain: "{DOMAIN}">
        {DYNAMIC_QUANTIZE} (x) => (y) {{
            integers, scale, zero_point = DynamicQuantizeLinear (x)
            wide = Cast <to = 1> (integers)
            zero = Cast <to = 1> (zero_point)
            centred = Sub (wide, zero)
            y = Mul (centred, scale)
        }}"""
    )
    return body
