"""Weight layouts of the GPU targets: what a tile loads together lies together."""

from __future__ import annotations

from typing import Any

import numpy as np
from tvm import relax
from tvm.ir import GenericConst

from tilewright.targets.static import StaticValues

_IHWO = (1, 2, 3, 0)


@relax.expr_functor.mutator
class _WeightsByInput(relax.PyExprMutator):  # type: ignore[misc]
    """Rewrites conv2d(x, fixed OIHW weights) to IHWO: the output channels of a tile become one vector load."""

    static: StaticValues

    def visit_call_(self, call: Any) -> Any:
        fixed = len(call.args) > 1 and self.static.fixed(call.args[1])
        call = self.visit_expr_post_order(call)
        if getattr(call.op, "name", "") != "relax.nn.conv2d":
            return call
        attrs, (data, weight) = call.attrs, call.args
        if int(attrs.groups) != 1 or attrs.kernel_layout != "OIHW" or attrs.data_layout != "NCHW":
            return call
        if not fixed:
            return call
        if isinstance(weight, GenericConst):
            packed = relax.const(np.ascontiguousarray(weight.value.numpy().transpose(_IHWO)))
        else:
            packed = self.builder_.emit(relax.op.permute_dims(weight, _IHWO))
        return relax.op.nn.conv2d(
            data,
            packed,
            strides=attrs.strides,
            padding=attrs.padding,
            dilation=attrs.dilation,
            groups=1,
            data_layout="NCHW",
            kernel_layout="IHWO",
            out_layout=attrs.out_layout,
            out_dtype=attrs.out_dtype,
        )


def pack_weights(mod: Any) -> Any:
    """Gives the fixed weights of dense 2-d convolutions the layout IHWO: constants here, others in the prologue."""
    mutator = _WeightsByInput(mod)
    for var, func in mod.functions.items():
        if isinstance(func, relax.Function):
            mutator.static = StaticValues(func)
            mutator.builder_.update_func(var, mutator.visit_expr(func))
    return relax.transform.Normalize()(mutator.builder_.finalize())
