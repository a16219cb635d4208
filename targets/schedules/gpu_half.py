"""Half precision for the GPU targets."""

from __future__ import annotations

from typing import Any

from tvm import relax


@relax.expr_functor.mutator
class _ClipAsTensors(relax.PyExprMutator):  # type: ignore[misc]
    """Rewrites clip(x, low, high) to minimum and maximum: ToMixedPrecision cannot take scalar arguments."""

    def visit_call_(self, call: Any) -> Any:
        call = self.visit_expr_post_order(call)
        if getattr(call.op, "name", "") != "relax.clip":
            return call
        data, low, high = call.args
        dtype = str(data.ty.dtype)
        at_least = relax.op.maximum(data, relax.const(float(_number(low)), dtype))
        return relax.op.minimum(self.builder_.normalize(at_least), relax.const(float(_number(high)), dtype))


def _number(expr: Any) -> float:
    value = getattr(expr, "value", expr)  # PrimValue around an immediate, or the immediate
    return float(getattr(value, "value", value))


def to_half(mod: Any) -> Any:
    """Puts convolutions and products, and what lies between them, into fp16; inputs and outputs of the model stay."""
    mutator = _ClipAsTensors(mod)
    for var, func in mod.functions.items():
        if isinstance(func, relax.Function):
            mutator.builder_.update_func(var, mutator.visit_expr(func))
    mod = relax.transform.Normalize()(mutator.builder_.finalize())
    mod = relax.transform.ToMixedPrecision(out_dtype="float16")(mod)
    return relax.transform.FoldConstant()(mod)
