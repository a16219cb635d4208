"""Layers with compressed weights, in Relax: a kernel that reads packed weights, and what follows it.

What follows (scales of outputs, a conversion to half) are ordinary operators, so that fusion makes them part of the
kernel's epilogue with bias, activation and residual. Layers that no kernel fits keep their unpacking calls.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tvm import relax, tirx
from tvm.ir import GenericConst

from tilewright.formats.codecs.astc import Astc
from tilewright.formats.codecs.astc.modes import BLOCK_BYTES
from tilewright.formats.layouts.block_sparse import BlockSparse
from tilewright.plan import PackedParameter
from tilewright.targets.layer_rewriter import LayerRewriter, constant, shape_of
from tilewright.targets.packed_weights import CompressedWeight, PackedWeights
from tilewright.targets.schedules import gpu_astc
from tilewright.targets.schedules.gpu_common import GpuLimits
from tilewright.targets.schedules.gpu_convolution import Convolution, convolution, outputs_for
from tilewright.targets.schedules.gpu_decoder import FOUR
from tilewright.targets.schedules.gpu_kernel_weights import (
    KernelWeights,
    float_weights,
    kernel_weights,
    multiplies_bytes,
    slower,
)
from tilewright.targets.schedules.gpu_pairs import pays
from tilewright.targets.schedules.gpu_product import Product, compressed, padded_depth
from tilewright.targets.schedules.gpu_staging import corner, finished, padded_image, widened, window_on_padded, words_of
from tilewright.targets.schedules.gpu_words import Words
from tilewright.targets.schedules.staging import Quantized, emit_te, position_major, quantized_source

_FEW_ROWS = 64  # of activations: more make a tile of gpu_tile worth its while
_ROLES = ("index", "codebook", "values", "zero_points", "scales")  # in the order of a kernel's parameters


def prepare(
    mod: Any, packed: Sequence[PackedParameter], limits: GpuLimits
) -> tuple[Any, tuple[PackedParameter, ...], dict[str, str]]:
    """Replaces layers of ``main`` by kernels that read packed weights.

    Returns:
        The module, its packed parameters, and why a weight is unpacked at load instead, by its name.
    """
    (main,) = (var for var in mod.functions if var.name_hint == "main")
    weights = PackedWeights(mod[main], packed)
    rewriter = _PackedLayers(mod, weights, limits)
    new, kept = weights.finish(rewriter.visit_expr(mod[main]))
    rewriter.builder_.update_func(main, new)
    return relax.transform.DeadCodeElimination()(rewriter.builder_.get()), kept, rewriter.reasons


@relax.expr_functor.mutator
class _PackedLayers(LayerRewriter):
    def __init__(self, mod: Any, weights: PackedWeights, limits: GpuLimits) -> None:
        super().__init__(mod)
        self.weights = weights
        self.limits = limits
        self.reasons: dict[str, str] = {}
        self.unpacked = _used_unpacked(mod["main"])

    def visit_call_(self, call: Any) -> Any:
        needed = _weight(call) in self.unpacked
        call = self.visit_expr_post_order(call)
        name = getattr(call.op, "name", "")
        if needed or name not in _LAYERS:
            return call
        new = self._matmul(call) if name == "relax.matmul" else self._conv2d(call)
        return call if new is None else new

    # -- layers

    def _matmul(self, call: Any) -> Any:
        """A product by the transpose of a compressed matrix, or by a constant one; None where there is no kernel."""
        left, right = call.args
        if len(shape_of(left)) < 2 or 0 in shape_of(call):
            return None
        if isinstance(right, GenericConst):
            return self._constant_product(call, left, right.value.numpy())
        found = self._find(right)
        if found is None:
            return None
        weight, transposed = found
        if len(weight.unpack.shape) != 2 or (weight.unpack.perm.index(0) == 0) != transposed:
            return None
        *batch, _ = shape_of(left)
        if gpu_astc.has_kernel(weight.format, math.prod(batch), weight.unpack.matrix[1]):
            return self._astc(call, left, weight)
        chosen = self._packed(weight, quantized_source(self, left), math.prod(batch), dtype=str(left.ty.dtype))
        if chosen is None:
            return None
        packed, quantized = chosen
        data = left if quantized is None else quantized.data
        _, taps, channels = weight.unpack.split
        if taps > 1:  # flattened [channel, position]; the matrix has positions outside
            data = position_major(self, data, batch, channels, taps)
        return self._product(call, data, packed, self._parameters(weight, packed), quantized)

    def _astc(self, call: Any, left: Any, weight: CompressedWeight) -> Any:
        """A product by ASTC blocks."""
        *batch, _ = shape_of(left)
        codec, (outputs, depth), (_, taps, channels) = weight.format.codec, weight.unpack.matrix, weight.unpack.split
        layout, (rows, _) = weight.format.layout, weight.unpack.payload
        assert isinstance(codec, Astc)
        data = left if taps == 1 else position_major(self, left, batch, channels, taps)
        blocks = weight.arrays["blocks"].reshape(-(-rows // codec.height), -1, BLOCK_BYTES)
        columns, sparse = blocks.shape[1] * codec.width, (0, 0, 0)
        if isinstance(layout, BlockSparse):
            sparse = layout.bh, layout.bw, columns
            columns = (-(-depth // layout.bw) + 1) * layout.bw
        data = widened(self, data, columns)
        form = codec.width, codec.height, codec.levels, outputs, shape_of(data), str(data.ty.dtype)
        layer = gpu_astc.AstcProduct(*form, *sparse).tiled(self.limits)
        packed = {"blocks": (layer.pack(blocks), 8)}
        if isinstance(layout, BlockSparse):
            index = weight.arrays["index"].reshape(layout.grid(weight.unpack.matrix)[0], -1)
            packed = {"index": (layer.pack_index(index), 16), **packed}
        parameters = [
            self.weights.add(PackedParameter(weight.source[role].name, array, weight.source[role].storage, bits))
            for role, (array, bits) in packed.items()
        ]
        operands = [data, *parameters, constant(gpu_astc.table_of(layer))]
        result = self.emit_kernel(gpu_astc.product(layer), "astc", operands, layer.out_shape, "float32")
        scaled = self.emit(relax.op.multiply(result, constant(weight.arrays["scales"].ravel()[:outputs])))
        return _typed(scaled, call)

    def _constant_product(self, call: Any, data: Any, matrix: Any) -> Any:
        """A product of a few rows by a constant that nobody compressed."""
        few = math.prod(shape_of(data)[:-1]) <= _FEW_ROWS
        if matrix.ndim != 2 or not few or str(matrix.dtype) not in ("float32", "float16"):
            return None
        pairs = pays(8 * matrix.itemsize, False, str(data.ty.dtype), self.limits)
        packed = float_weights(matrix.T, self.limits.lanes, self.limits.outputs, pairs)
        return self._product(call, data, packed, [constant(packed.arrays["values"])])

    def _product(
        self, call: Any, data: Any, packed: KernelWeights, weights: list[Any], quantized: Quantized | None = None
    ) -> Any:
        data = widened(self, data, padded_depth(packed.words, shape_of(data)[-1], quantized is not None))
        layer = Product(packed.words, shape_of(data), str(data.ty.dtype)).tiled(self.limits)
        result = self.emit_kernel(compressed(layer), "compressed", [data, *weights], layer.out_shape, layer.out_dtype)
        return _typed(finished(self, result, packed, quantized, 0), call)

    def _conv2d(self, call: Any) -> Any:
        """A convolution by a compressed weight, or None."""
        data, right = call.args
        attrs, found = call.attrs, self._find(right)
        layouts = (str(attrs.data_layout), str(attrs.kernel_layout), str(attrs.out_layout))
        if found is None or int(attrs.groups) != 1 or layouts != ("NCHW", "OIHW", "NCHW") or 0 in shape_of(call):
            return None
        weight, _ = found
        (_, taps, channels), perm = weight.unpack.split, weight.unpack.perm
        kernel = [int(size) for size in shape_of(right)[2:]]
        if math.prod(kernel) != taps or perm.index(0) != 0 or (taps > 1 and perm != (0, 2, 1)):
            return None
        batch, _, *out = shape_of(call)
        chosen = self._packed(weight, quantized_source(self, data), batch * math.prod(out), taps)
        if chosen is None:
            return None
        packed, quantized = chosen
        window, at = window_on_padded(shape_of(data), out, kernel, attrs), corner(attrs)
        if quantized is None:
            data = padded_image(self, data, window, at)
        else:
            data = words_of(self, quantized, window, at)
            channels = FOUR * shape_of(data)[1]
        layer = Convolution(packed.words, window, channels, str(data.ty.dtype))
        operands = [data, *self._parameters(weight, packed)]
        result = self.emit_kernel(convolution(layer), "compressed_conv", operands, layer.out_shape, layer.out_dtype)
        return _typed(finished(self, result, packed, quantized, 2), call)

    # -- parts

    def _find(self, expr: Any) -> tuple[CompressedWeight, bool] | None:
        """The compressed weight that an operand is; in half precision it was converted on the way."""
        value = self.lookup_binding(expr) if isinstance(expr, relax.Var) else expr
        if getattr(getattr(value, "op", None), "name", "") == "relax.astype":
            expr = value.args[0]
        return self.weights.find(expr, self.lookup_binding)

    def _packed(
        self, weight: CompressedWeight, quantized: Quantized | None, rows: int, taps: int = 0, dtype: str = ""
    ) -> tuple[KernelWeights, Quantized | None] | None:
        """The weight as a kernel reads it, and the bytes that the kernel multiplies it with, if it does.

        Args:
            quantized: the bytes behind the activations.
            taps: of a convolution; 0 for products.
            dtype: of the activations, if no bytes are multiplied.
        """
        limits = self.limits
        packed = kernel_weights(weight, 1, taps) if taps else kernel_weights(weight, limits.lanes, 1, limits.outputs)
        if isinstance(packed, str):
            self.reasons[weight.name] = packed
            return None
        w = packed.words
        whole = not taps or (not w.group and w.bw % FOUR == 0)  # words of four channels, and integers for sums
        if quantized is not None and not (whole and multiplies_bytes(packed, rows, self.limits)):
            quantized = None
        if taps and (most := outputs_for(w, quantized is not None, limits)) < w.rows:
            packed = kernel_weights(weight, 1, taps, most)
            assert isinstance(packed, KernelWeights)
            w = packed.words
        reason = slower(w, weight.unpack.matrix[1], rows, self.limits if quantized is not None else None)
        if reason:
            self.reasons[weight.name] = reason
            return None
        if quantized is None and pays(w.bits, bool(w.table), dtype, limits):
            packed = kernel_weights(weight, limits.lanes, 1, limits.outputs, pairs=True)
            assert isinstance(packed, KernelWeights)
        return packed, quantized

    def _parameters(self, weight: CompressedWeight, packed: KernelWeights) -> list[Any]:
        found = []
        for role in _ROLES:
            if role == "values" and role not in packed.arrays:
                found.append(self._decoded(weight, packed.words))
            elif role in packed.arrays:
                source = weight.source[role]
                bits = packed.symbol_bits[role]
                found.append(self.weights.add(PackedParameter(source.name, packed.arrays[role], source.storage, bits)))
        return found

    def _decoded(self, weight: CompressedWeight, words: Words) -> Any:
        """Floats in kernel order that are computed when the model is loaded."""
        payload = self.emit(self.weights.payload(weight))
        rows, columns = weight.unpack.payload

        def element(places: Any, at: Any) -> Any:
            row, column = words.origin(*at)
            value = places[0](tirx.min(row, rows - 1), tirx.min(column, columns - 1))
            return tirx.if_then_else(tirx.all(row < rows, column < columns), value, tirx.const(0, "float32"))

        return emit_te(self, "ordered", words.values_shape, "float32", element, payload)


def _typed(result: Any, call: Any) -> Any:
    """In the type that the layer had."""
    return result if result.ty.dtype == call.ty.dtype else relax.op.astype(result, call.ty.dtype)


_LAYERS = {"relax.matmul", "relax.nn.conv2d"}
_MOVES = {"relax.permute_dims", "relax.astype"}


def _weight(call: Any) -> Any:
    """The second operand of a layer, or None."""
    return call.args[1] if getattr(call.op, "name", "") in _LAYERS else None


def _used_unpacked(function: Any) -> set[Any]:
    """Variables whose values something other than a layer's weight needs: these need not be stored packed as well."""
    bindings = [binding for block in function.body.blocks for binding in block.bindings]
    used = set(relax.analysis.free_vars(function.body.body))
    for binding in reversed(bindings):
        value = binding.value
        weight = _weight(value) if isinstance(value, relax.Call) else None
        moves = getattr(getattr(value, "op", None), "name", "") in _MOVES and binding.var not in used
        if not moves:
            used.update(var for var in relax.analysis.free_vars(value) if not var.same_as(weight))
    for binding in bindings:  # what is made of them
        if getattr(getattr(binding.value, "op", None), "name", "") in _MOVES and binding.value.args[0] in used:
            used.add(binding.var)
    return used
