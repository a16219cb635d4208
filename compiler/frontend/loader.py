"""Reads an ONNX model, checks it, and normalises it into the graph that the importer understands."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import google.protobuf.message
import onnx
import onnx_ir as ir

from tilewright.errors import ModelError, Problem, UnsupportedError, UsageError
from tilewright.frontend.operators import DTYPES, lookup
from tilewright.passes import normalise

OPSETS = range(7, 27)  # 7 brought NumPy-style broadcasting; 26 is the newest that the importer was checked against

# Bits an element of the types whose raw size can be checked.
_ITEM_BITS = {int(dtype): dtype.bitwidth for dtype in ir.DataType if dtype.name not in ("UNDEFINED", "STRING")}

Model = str | os.PathLike[str] | onnx.ModelProto | ir.Model


def load(model: Model, shapes: Mapping[str, Sequence[int]] | None = None) -> ir.Model:
    """Reads a model and normalises it: static shapes, folded constants, unique names, importable operators only.

    Args:
        model: a path to an ONNX file (external data beside it), or a model in memory, which is left unchanged.
        shapes: shapes of inputs with symbolic dimensions, by input name.

    Raises:
        UsageError: no such file; a shape for an unknown input, of the wrong rank, or missing.
        ModelError: the file is damaged, or the graph is invalid.
        UnsupportedError: operators or types that cannot be compiled, all of them.
    """
    if isinstance(model, ir.Model):
        graph = model.clone()
    else:
        proto, folder = (model, Path()) if isinstance(model, onnx.ModelProto) else _read(Path(model))
        _check(proto, folder)
        graph = _to_ir(proto, folder)
    _check_opsets(graph)
    graph = normalise(graph, dict(shapes or {}), keep=lambda node: lookup(node) is not None)
    check_supported(graph)
    return graph


def _read(path: Path) -> tuple[onnx.ModelProto, Path]:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise UsageError(f"no such file: {path}") from None
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    if not data:
        raise ModelError(f"{path} is empty")
    try:
        proto = onnx.ModelProto.FromString(data)
    except google.protobuf.message.DecodeError:
        raise ModelError(f"{path} is not an ONNX model, or it is truncated or damaged") from None
    return proto, path.parent


def _check(proto: onnx.ModelProto, folder: Path) -> None:
    """onnx's own checker on the model without its weights, and our checks of the weights."""
    if not proto.HasField("graph") or not proto.graph.output:
        raise ModelError("the model has no graph, or its graph has no outputs: not an ONNX model, or a damaged one")
    problems = [problem for tensor in proto.graph.initializer for problem in _check_weight(tensor, folder)]
    if problems:
        raise UnsupportedError("the model's weights cannot be read", problems)
    try:
        onnx.checker.check_model(_without_weights(proto))
    except Exception as error:  # ValidationError, and C++ and protobuf errors on hostile input
        raise ModelError(f"the model is invalid: {' '.join(str(error).split())[:400]}") from None


def _check_weight(tensor: onnx.TensorProto, folder: Path) -> list[Problem]:
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        entries = {entry.key: entry.value for entry in tensor.external_data}
        name = entries.get("location", "")
        path = Path(os.path.normpath(folder / name))
        if not name or Path(name).is_absolute() or ".." in Path(name).parts:
            return [Problem(tensor.name, f"its data location '{name}' leaves the model's folder")]
        if not path.is_file():
            return [Problem(tensor.name, f"its data file '{name}' is missing", "keep it beside the model")]
        return []
    if tensor.data_type not in _ITEM_BITS:
        return []  # refused by operator later
    if any(dim < 0 for dim in tensor.dims):
        return [Problem(tensor.name, f"negative dimension in {list(tensor.dims)}")]
    expected = -(-math.prod(tensor.dims) * _ITEM_BITS[tensor.data_type] // 8)
    if tensor.HasField("raw_data") and len(tensor.raw_data) != expected:
        what = f"{len(tensor.raw_data)} bytes of data where shape {list(tensor.dims)} needs {expected}"
        return [Problem(tensor.name, what, "the file is damaged")]
    return []


def _without_weights(proto: onnx.ModelProto) -> onnx.ModelProto:
    """A copy in which every initializer is an input: cheap, and free of protobuf's 2 GB limit."""
    light = onnx.ModelProto(ir_version=max(proto.ir_version, 4), opset_import=proto.opset_import)
    light.functions.extend(proto.functions)
    source, graph = proto.graph, light.graph
    graph.name = source.name or "graph"
    graph.node.extend(source.node)
    graph.input.extend(source.input)
    graph.output.extend(source.output)
    graph.value_info.extend(source.value_info)
    named = {value.name for value in source.input}
    for tensor in source.initializer:
        if tensor.name not in named:
            named.add(tensor.name)
            graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)))
    return light


def _to_ir(proto: onnx.ModelProto, folder: Path) -> ir.Model:
    try:
        model = ir.from_proto(proto)
        ir.external_data.set_base_dir(model.graph, folder)
        ir.external_data.load_to_model(model)
        for value in model.graph.initializers.values():
            if value.const_value is not None and value.const_value.dtype != ir.DataType.STRING:
                value.const_value.numpy()
    except Exception as error:  # onnx-ir raises many kinds on damaged input
        raise ModelError(f"the model is damaged: {' '.join(str(error).split())[:400]}") from error
    return model


def _check_opsets(model: ir.Model) -> None:
    version = model.opset_imports.get("", model.opset_imports.get("ai.onnx"))
    if version is None:
        domains = ", ".join(repr(domain) for domain in model.opset_imports) or "none"
        raise ModelError(f"the model imports no standard ONNX operator set (it imports {domains})")
    if version not in OPSETS:
        remedy = "export it again or convert it with onnx.version_converter"
        raise ModelError(f"opset {version} is not supported, {OPSETS[0]} to {OPSETS[-1]} are ({remedy})")


def check_supported(model: ir.Model) -> None:
    """Walks the whole graph before anything is converted.

    Raises:
        UnsupportedError: nodes without a converter, and tensors whose type or shape cannot be compiled.
    """
    problems = []
    unknown: set[ir.Value] = set()  # results of what is not supported: nothing is known about what follows from them
    for value in model.graph.inputs:
        problems += _check_value(value, f"input '{value.name}'")
    for node in model.graph:
        where = node.name or node.op_type
        if lookup(node) is None:
            domain = f"{node.domain}." if node.domain else ""
            problems.append(Problem(where, f"{domain}{node.op_type} is not supported", _remedy(node)))
            unknown.update(node.outputs)
        elif unknown.intersection(node.inputs):
            unknown.update(node.outputs)
        else:
            for value in node.outputs:
                if value.uses() or value.is_graph_output():
                    problems += _check_value(value, where, f"{node.op_type}'s output '{value.name}'")
    if problems:
        raise UnsupportedError(
            f"{len(problems)} thing{'s' * (len(problems) > 1)} in the model cannot be compiled", problems
        )


_DYNAMIC = frozenset({"NonMaxSuppression", "NonZero", "Unique"})
_QUANTIZED = frozenset({"DynamicQuantizeMatMul", "MatMulIntegerToFloat", "MatMulNBits", "GatherBlockQuantized"})


def _remedy(node: ir.Node) -> str:
    if node.op_type in _DYNAMIC:
        return "the shape of its result depends on data: compute it outside of the compiled model"
    if node.op_type in ("If", "Loop", "Scan"):
        return "control flow must be decided at compile time: fix its condition, or export without it"
    if node.domain == "com.microsoft" and (node.op_type.startswith("Q") or node.op_type in _QUANTIZED):
        return "quantize the float model in onnxruntime's QDQ format, or with a recipe here"
    return "see docs/operators.md for what is; rewrite it with those operators before export"


def _check_value(value: ir.Value, where: str, label: str = "its type") -> list[Problem]:
    if value.type is not None and not isinstance(value.type, ir.TensorType):
        return [Problem(where, f"{label} is no tensor but {value.type}", "sequences and optionals cannot be compiled")]
    if value.dtype is not None and value.dtype not in DTYPES:
        return [
            Problem(where, f"{label} has element type {value.dtype.name}", f"supported: {', '.join(DTYPES.values())}")
        ]
    if value.dtype is None or value.shape is None or not value.shape.is_static():
        return [Problem(where, f"the shape of {label} depends on data", "compiled models have static shapes only")]
    return []
