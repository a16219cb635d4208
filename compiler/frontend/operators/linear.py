"""Matrix products: MatMul, Gemm and Einsum."""

from __future__ import annotations

from collections.abc import Mapping

from tvm import relax

from tilewright.frontend.operators.layer import Expr, Layer, Operator, Refusal, const


def matmul(layer: Layer, a: Expr, b: Expr) -> Expr:
    """A product; float16 is summed in float32, as every implementation of ONNX does."""
    if layer.dtype() != "float16":
        return layer.emit(relax.op.matmul(a, b))
    return layer.emit(relax.op.astype(layer.emit(relax.op.matmul(a, b, out_dtype="float32")), "float16"))


def _gemm(layer: Layer) -> Expr:
    dtype = layer.dtype()
    alpha, beta = layer.number("alpha", 1.0), layer.number("beta", 1.0)
    if not dtype.startswith("float") and not (alpha.is_integer() and beta.is_integer()):
        raise Refusal(f"Gemm of {dtype} with fractional alpha or beta is not supported")
    a = layer.emit(relax.op.permute_dims(layer[0])) if layer.integer("transA", 0) else layer[0]
    b = _transposed(layer, 1) if layer.integer("transB", 0) else layer[1]
    y = matmul(layer, a, b)
    if alpha != 1.0:
        y = layer.emit(relax.op.multiply(y, const(alpha, dtype)))
    c = layer.optional(2)
    if c is None:
        return y
    if beta != 1.0:
        c = layer.emit(relax.op.multiply(c, const(beta, dtype)))
    return relax.op.add(y, c)


def _transposed(layer: Layer, index: int) -> Expr:
    array = layer.array(index)
    return const(array.T, layer.dtype(index)) if array is not None else layer.emit(relax.op.permute_dims(layer[index]))


def _einsum(layer: Layer) -> Expr:
    equation = layer.text("equation").replace(" ", "")
    if "->" not in equation:  # implicit output: labels that occur once, in alphabetical order
        labels = equation.replace(",", "").replace("...", "")
        dots = "..." if "..." in equation else ""
        equation += "->" + dots + "".join(sorted(c for c in set(labels) if labels.count(c) == 1))
    return relax.op.einsum(list(layer.inputs), equation)


OPERATORS: Mapping[str, Operator] = {
    "Einsum": Operator(_einsum),
    "Gemm": Operator(_gemm),
    "MatMul": Operator(lambda layer: matmul(layer, layer[0], layer[1])),
}
