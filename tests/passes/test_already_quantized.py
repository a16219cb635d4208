"""Layers with integer weights are found by every way of writing them; float and computed weights are not."""

from __future__ import annotations

from tests.passes.support import parse
from tilewright.passes.already_quantized import already_quantized


def test_integer_weights_are_named() -> None:
    model = parse(
        """g (float[2, 3] x, uint8[2, 3] u) => (float[2, 3] y, int32[2, 3] i, float[2, 3] z)
           <int8[3, 3] q = {1, 2, 3, 4, 5, 6, 7, 8, 9}, float s = {0.5}, int8 p = {0},
            float[3, 3] w = {1, 2, 3, 4, 5, 6, 7, 8, 9}> {
            d = DequantizeLinear(q, s, p)
            [dequantized] y = MatMul(x, d)
            [integers] i = MatMulInteger(u, q)
            [plain] f = MatMul(x, w)
            t = Transpose(x)
            h = MatMul(f, t)
            [computed] z = MatMul(h, x)
        }"""
    )
    assert [(layer.layer, layer.reason) for layer in already_quantized(model.graph)] == [
        ("dequantized", "its weight is quantized already, to INT8 'q'"),
        ("integers", "its weight is quantized already, to INT8 'q'"),
    ]
