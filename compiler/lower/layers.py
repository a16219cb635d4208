"""Keeps track of which ONNX nodes a fused kernel computes.

Relax forgets where an operator came from when it fuses. So, just before fusion, every call gets a PrimFunc of its own
that carries its layer's name; right after fusion the names found inside a fused function are noted on its kernel. At
the end kernels that differ in nothing but these names become one again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import tvm
import tvm_ffi
from tvm import relax, tirx
from tvm.ir import Call

from tilewright.targets.streams import is_stream
from tilewright.targets.tir import var_name

_END = "_z"  # ends a layer's name in a binding's name; Relax appends digits to make names unique
ORIGIN = "tilewright.origin"  # attribute of a PrimFunc: one line an operator, "operator<tab>ONNX node"
_OPAQUE = 8  # Relax's OpPatternKind: never fused
MAX_NAMED = 4  # operators in a kernel's name; long chains stay readable


def binding_hint(layer: str) -> str:
    """What to name a Relax binding that was made for an ONNX node of this name.

    Kernels take over names of bindings for their parameters, so it must be an identifier in C: bytes other than letters
    and digits become ``_`` and two hexadecimal digits.
    """
    escaped = "".join(chr(b) if chr(b).isalnum() and b < 128 else f"_{b:02x}" for b in layer.encode())
    return f"n{escaped}{_END}"


def layer_of(binding: str) -> str | None:
    """The ONNX node that a binding of this name was made for; None for names that Relax made up."""
    escaped, end, _ = binding.rpartition(_END)
    if not end or not escaped.startswith("n"):
        return None
    data = re.sub(rb"_([0-9a-f]{2})", lambda match: bytes([int(match[1], 16)]), escaped[1:].encode())
    return data.decode()


@dataclass(frozen=True)
class Origin:
    """What one PrimFunc was made of: legalised operators and the ONNX nodes they belong to."""

    operators: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        more = "_etc" if len(self.operators) > MAX_NAMED else ""
        return "_".join(self.operators[:MAX_NAMED]) + more


def _is_call_tir(expr: Any) -> bool:
    return isinstance(expr, Call) and getattr(expr.op, "name", "") == "relax.call_tir"


@relax.expr_functor.mutator
class _CallRewriter(relax.PyExprMutator):  # type: ignore[misc]
    """Replaces the callee of every call_tir in a function."""

    def __init__(self, mod: Any, callee: Callable[[Any, Any, Any], Any]) -> None:
        super().__init__(mod)
        self.callee = callee
        self.binding: Any = None

    def visit_var_binding_(self, binding: Any) -> None:
        self.binding = binding
        super().visit_var_binding_(binding)

    def visit_call_(self, call: Any) -> Any:
        call = self.visit_expr_post_order(call)
        if not _is_call_tir(call):
            return call
        new = self.callee(self.builder_, self.binding, call.args[0])
        return call if new.same_as(call.args[0]) else Call(call.op, [new, *call.args[1:]], call.attrs, call.ty_args)


def _rewrite_main(mod: Any, callee: Callable[[Any, Any, Any], Any]) -> Any:
    (main,) = (var for var in mod.functions if var.name_hint == "main")
    rewriter = _CallRewriter(mod, callee)
    rewriter.builder_.update_func(main, rewriter.visit_expr(mod[main]))
    return relax.transform.DeadCodeElimination()(rewriter.builder_.get())


def split_kernels(mod: Any) -> Any:
    """Gives every call_tir of ``main`` a PrimFunc that names its layer.

    A call whose binding names no layer belongs to the layer before it, since one node may lower to several calls.
    """
    layer = ""

    def callee(builder: Any, binding: Any, old: Any) -> Any:
        nonlocal layer
        layer = layer_of(var_name(binding.var)) or layer
        operator = re.sub(r"\d+$", "", old.name_hint)  # the digits that made the name unique
        function = mod[old].with_attr(ORIGIN, f"{operator}\t{layer}")
        if is_stream(function):  # whatever analysis made of its body
            function = function.with_attr("op_pattern", _OPAQUE)
        return builder.add_func(function, old.name_hint)

    return _rewrite_main(mod, callee)


def _bindings(mod: Any) -> Iterator[Any]:
    return (binding for block in mod["main"].body.blocks for binding in block.bindings)


def _origin_lines(func: Any, mod: Any) -> list[str]:
    if isinstance(func, tirx.PrimFunc):
        return str(func.attrs[ORIGIN]).splitlines() if func.attrs and ORIGIN in func.attrs else []
    found: list[str] = []

    def visit(node: Any) -> None:
        if _is_call_tir(node):
            found.extend(_origin_lines(mod[node.args[0]], mod))

    tvm_ffi.structural_walk(func.body, visit, order="pre")
    return found


def _origin(func: Any, mod: Any) -> Origin:
    pairs = [line.split("\t", 1) for line in _origin_lines(func, mod)]
    layers = dict.fromkeys(layer for _, layer in pairs if layer)
    return Origin(tuple(operator for operator, _ in pairs), tuple(layers))


def fuse_tir(mod: Any) -> Any:
    """FuseTIR, with the origins of each fused function noted on the kernel that it becomes."""
    origins = []
    for binding in _bindings(mod):
        value = binding.value
        if _is_call_tir(value):
            origins.append(_origin_lines(mod[value.args[0]], mod))
        elif isinstance(value, Call) and isinstance(value.op, tvm.ir.GlobalVar):
            origins.append(_origin_lines(mod[value.op], mod))
    mod = relax.transform.FuseTIR()(mod)
    kernels = [binding.value.args[0] for binding in _bindings(mod) if _is_call_tir(binding.value)]
    for kernel, lines in zip(kernels, origins, strict=True):
        mod.update_func(kernel, mod[kernel].with_attr(ORIGIN, "\n".join(lines)))
    return mod


def unify_kernels(mod: Any, prefix: str = "") -> tuple[Any, list[tuple[str, ...]]]:
    """Merges structurally equal kernels, names them after their operators with a prefix, and drops what nobody calls.

    Returns:
        The module, and for each call_tir of ``main`` in order the ONNX nodes that it computes.
    """
    layers: list[tuple[str, ...]] = []
    known: dict[int, list[tuple[Any, Any]]] = {}

    def callee(builder: Any, binding: Any, old: Any) -> Any:
        origin = _origin(mod[old], mod)
        layers.append(origin.layers)
        func = mod[old].without_attr(ORIGIN)
        bucket = known.setdefault(tvm_ffi.structural_hash(func), [])
        for var, other in bucket:
            if tvm_ffi.structural_equal(func, other):
                return var
        bucket.append((builder.add_func(func, prefix + (origin.name or old.name_hint)), func))
        return bucket[-1][0]

    mod = _rewrite_main(mod, callee)
    used = {var for bucket in known.values() for var, _ in bucket}
    functions = {var: func for var, func in mod.functions.items() if var in used or var.name_hint == "main"}
    return tvm.IRModule(functions, attrs=mod.attrs), layers
