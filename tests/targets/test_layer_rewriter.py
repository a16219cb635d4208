"""What a rewriter emits in a layer's place carries the layer's name."""

from __future__ import annotations

from typing import Any

from tvm import relax, te

from tilewright.targets.layer_rewriter import LayerRewriter
from tilewright.targets.tir import var_name


@relax.expr_functor.mutator
class _Doubles(LayerRewriter):
    """abs(x) becomes relu(x) + relu(-x), the second by a kernel."""

    def visit_call_(self, call: Any) -> Any:
        call = self.visit_expr_post_order(call)
        if getattr(call.op, "name", "") != "relax.abs":
            return call
        (x,) = call.args
        source = te.placeholder((4,), "float32", "x")
        negative = te.compute((4,), lambda i: te.max(-source[i], 0.0), name="negative")
        left = self.emit(relax.op.nn.relu(x))
        right = self.emit_kernel(te.create_prim_func([source, negative]), "negative", [x], (4,), "float32")
        return relax.op.add(left, right)


def test_names() -> None:
    builder = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType((4,), "float32"))
    with builder.function("main", [x]):
        with builder.dataflow():
            first = builder.emit(relax.op.exp(x), name_hint="nfirst_z")
            second = builder.emit(relax.op.abs(first), name_hint="nsecond_z")
            result = builder.emit_output(relax.op.exp(second), name_hint="nthird_z")
        builder.emit_func_output(result)
    new = _Doubles(builder.get()).visit_expr(builder.get()["main"])
    names = [var_name(binding.var) for block in new.body.blocks for binding in block.bindings]
    assert [name.rstrip("_0123456789") for name in names] == ["nfirst_z", *["nsecond_z"] * 3, "nthird_z"]
