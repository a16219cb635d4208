"""Converts a model of an old ONNX operator set, where a pass needs operators of a newer one."""

from __future__ import annotations

import onnx
import onnx.version_converter
import onnx_ir as ir

from tilewright.errors import ModelError
from tilewright.passes.fold_constants import FoldConstants
from tilewright.passes.lift_constants import LiftConstants
from tilewright.passes.name_nodes import NameNodes


class RaiseOpset(ir.passes.FunctionalPass):
    """Gives a model of at least some operator set, through onnx's version converter; weights keep their names.

    Raises:
        ModelError: the converter cannot convert an operator, or the model has operators or functions of other domains,
            which it would lose.
    """

    def __init__(self, least: int) -> None:
        super().__init__()
        self.least = least

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        present = model.opset_imports.get("", 1)
        if present >= self.least:
            return ir.passes.PassResult(model.clone(), False)
        foreign = sorted({node.op_type for node in model.graph if node.domain != ""})
        if foreign or model.functions:
            raise ModelError(
                f"opset {present} cannot be raised to {self.least} in a model with functions or the operators "
                f"{', '.join(foreign) or '(none)'} of other domains: convert it with onnx.version_converter first"
            )
        try:
            proto = onnx.version_converter.convert_version(ir.to_proto(model), self.least)
        except Exception as error:  # RuntimeError, ConvertError
            raise ModelError(
                f"opset {present} is too old, and the model cannot be converted to {self.least}: "
                f"{' '.join(str(error).split())[:300]} (export it with opset {self.least} or newer)"
            ) from error
        proto.ir_version = max(proto.ir_version, model.ir_version)
        converted = ir.from_proto(proto)
        for step in (LiftConstants(), NameNodes(), FoldConstants()):
            step(converted)
        return ir.passes.PassResult(converted, True)
