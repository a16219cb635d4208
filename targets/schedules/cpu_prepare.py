"""Relax rewrites of the cpu family: channels last, and operators with fixed weights become templates of ours.

Fixed weights are packed: constants here, in NumPy, and those that are only known at load by a kernel of the prologue.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import networkx
from tvm import relax
from tvm.ir import GenericConst

from tilewright.plan import PackedParameter
from tilewright.targets.base import Device, Prepared
from tilewright.targets.layer_rewriter import LayerRewriter, constant, shape_of
from tilewright.targets.packed_weights import PackedWeights
from tilewright.targets.schedules import cpu_conv, cpu_matmul, cpu_window
from tilewright.targets.schedules.cpu_conv import Conv2d, conv2d, pack_weights
from tilewright.targets.schedules.cpu_layout import TO_CHANNELS_FIRST, TO_CHANNELS_LAST, channels_last
from tilewright.targets.schedules.cpu_matmul import Matmul, dense, matmul, pack_matrix
from tilewright.targets.schedules.cpu_packed_layers import PackedLayers
from tilewright.targets.schedules.cpu_tile import Core
from tilewright.targets.schedules.cpu_window import average_pool, depthwise, max_pool, pack_depthwise
from tilewright.targets.schedules.cpu_winograd import fastest, winograd, winograd_weights
from tilewright.targets.schedules.window import Window
from tilewright.targets.static import StaticValues
from tilewright.targets.tir import var_name


def prepare(mod: Any, device: Device, packed: Sequence[PackedParameter] = ()) -> Prepared:
    """Rewrites ``main``; what has no template is left for Relax's own lowering."""
    mod, packed = _convolve_planes(mod, packed, device)
    mod = relax.transform.CanonicalizeBindings()(channels_last(mod))  # no variable is bound to another
    (main,) = (var for var in mod.functions if var.name_hint == "main")
    weights = PackedWeights(mod[main], packed)
    layers = PackedLayers(weights, device)
    return Prepared(*_rewritten(mod, main, _TemplateRewriter(mod, Core.of(device), layers), weights), layers.reasons)


def _rewritten(mod: Any, main: Any, rewriter: Any, weights: PackedWeights) -> tuple[Any, tuple[PackedParameter, ...]]:
    """The module after a mutator that may have added packed parameters."""
    new, kept = weights.finish(rewriter.visit_expr(mod[main]))
    rewriter.builder_.update_func(main, new)
    return relax.transform.DeadCodeElimination()(rewriter.builder_.get()), kept


def _convolve_planes(
    mod: Any, packed: Sequence[PackedParameter], device: Device
) -> tuple[Any, tuple[PackedParameter, ...]]:
    """Sparse convolutions with no other before or after them stay channels first, as the network is around them."""
    (main,) = (var for var in mod.functions if var.name_hint == "main")
    lonely = _lonely_convolutions(mod[main]) if packed else set()
    if not lonely:
        return mod, tuple(packed)
    weights = PackedWeights(mod[main], packed)
    return _rewritten(mod, main, _PlaneRewriter(mod, PackedLayers(weights, device), lonely), weights)


def _lonely_convolutions(main: Any) -> set[Any]:
    """Variables bound to convolutions on whose ways from inputs and to outputs nothing else wants channels last."""
    bindings = [binding for block in main.body.blocks for binding in block.bindings]
    names = {binding.var: getattr(getattr(binding.value, "op", None), "name", "") for binding in bindings}
    graph = networkx.DiGraph()
    graph.add_nodes_from(names)
    for binding in bindings:
        graph.add_edges_from((var, binding.var) for var in relax.analysis.free_vars(binding.value))
    images = [var for var, name in names.items() if name in _TEMPLATES and name != "relax.matmul"]
    return {
        var
        for var in images
        if names[var] == "relax.nn.conv2d"
        and not (networkx.ancestors(graph, var) | networkx.descendants(graph, var)).intersection(images)
    }


@relax.expr_functor.mutator
class _PlaneRewriter(LayerRewriter):
    def __init__(self, mod: Any, packed_layers: PackedLayers, lonely: set[Any]) -> None:
        super().__init__(mod)
        self.packed_layers = packed_layers
        self.lonely = lonely

    def visit_call_(self, call: Any) -> Any:
        var = self.var
        call = self.visit_expr_post_order(call)
        if var not in self.lonely or getattr(call.op, "name", "") != "relax.nn.conv2d":
            return call
        data, weight = call.args
        layouts = (str(call.attrs.data_layout), str(call.attrs.kernel_layout))
        if layouts != ("NCHW", "OIHW") or not _is_f32(data, weight, call):
            return call
        batch, _, height, width = shape_of(data)
        window = _window((batch, height, width), shape_of(call)[2:], shape_of(weight)[2:], call.attrs)
        new = self.packed_layers.planes(self, data, weight, window, int(call.attrs.groups))
        return call if new is None else new


@relax.expr_functor.mutator
class _TemplateRewriter(LayerRewriter):
    def __init__(self, mod: Any, core: Core, packed_layers: PackedLayers) -> None:
        super().__init__(mod)
        self.core = core
        self.packed_layers = packed_layers
        self.static = StaticValues(mod["main"])

    def visit_call_(self, call: Any) -> Any:
        fixed = len(call.args) > 1 and self.static.fixed(call.args[1])
        call = self.visit_expr_post_order(call)
        template = _TEMPLATES.get(getattr(call.op, "name", ""))
        new = template(self, call, fixed) if template is not None else None
        return call if new is None else new

    def packed(self, weight: Any, pack: Callable[[Any], Any], packing: Callable[[], Any]) -> Any:
        """Fixed weights in a template's layout.

        Args:
            pack: does it in NumPy.
            packing: makes a PrimFunc that does it.
        """
        if isinstance(weight, GenericConst):
            return constant(pack(weight.value.numpy()))
        function = packing()
        out = function.params[-1]
        return self.emit_kernel(function, "pack", [weight], [int(size) for size in out.shape], str(out.dtype))

    def parameter(self, packed: Any) -> Any:
        """Packed weights such that what is computed of them is computed at load, not here."""
        if not isinstance(packed, GenericConst):
            return packed
        name = f"{var_name(self.var)}.weight"
        return self.packed_layers.weights.add(PackedParameter(name, packed.value.numpy()))


def _conv2d(rewriter: _TemplateRewriter, call: Any, fixed: bool) -> Any:
    data, weight = call.args
    attrs = call.attrs
    layouts = (str(attrs.data_layout), str(attrs.kernel_layout), str(attrs.out_layout))
    if layouts != ("NHWC", "OIHW", "NHWC") or not fixed or not _is_f32(data, weight, call):
        return None
    out_channels, _, *kernel = shape_of(weight)
    window = _window(shape_of(data)[:3], shape_of(call)[1:3], kernel, attrs)
    compressed = rewriter.packed_layers.conv2d(rewriter, data, weight, window, int(attrs.groups))
    if compressed is not None:
        return compressed
    channels, groups = shape_of(data)[3], int(attrs.groups)
    if groups == channels == out_channels:
        packed = rewriter.packed(weight, pack_depthwise, partial(cpu_window.packing, window, channels))
        quantized = rewriter.packed_layers.depthwise(rewriter, data, packed, window, channels)
        if quantized is not None:
            return quantized
        return rewriter.kernel(depthwise(window, channels), "depthwise", [data, packed], shape_of(call), "float32")
    conv = Conv2d(window, channels, out_channels, groups).tiled(rewriter.core)
    minimal = fastest(window, channels, out_channels, groups, rewriter.packed_layers.device)
    if minimal is not None:
        conv = replace(conv, panel=minimal.panel)
    packed = rewriter.packed(
        weight, lambda array: pack_weights(array, conv.panel, groups), partial(cpu_conv.packing, conv)
    )
    if minimal is not None:
        stored = rewriter.parameter(packed)
        at_points = rewriter.emit_kernel(
            winograd_weights(minimal), "winograd_weights", [stored], minimal.weight_shape, "float32"
        )
        return rewriter.kernel(winograd(minimal), "winograd", [data, at_points], shape_of(call), "float32")
    return rewriter.kernel(conv2d(conv), "conv2d", [data, packed], shape_of(call), "float32")


def _pool(rewriter: _TemplateRewriter, call: Any, fixed: bool) -> Any:
    (data,) = call.args
    attrs = call.attrs
    layout = str(attrs.layout)
    if str(attrs.out_layout) != layout or layout not in ("NHWC", "NCHW") or bool(attrs.ceil_mode) or not _is_f32(data):
        return None
    if layout == "NCHW":  # no convolution nearby
        data = rewriter.emit(relax.op.permute_dims(data, TO_CHANNELS_LAST))
    batch, channels, out_height, out_width = shape_of(call)
    if layout == "NHWC":
        batch, out_height, out_width, channels = shape_of(call)
    window = _window(shape_of(data)[:3], (out_height, out_width), attrs.pool_size, attrs)
    quantized = rewriter.packed_layers.max_pool(rewriter, data, window, channels) if layout == "NHWC" else None
    if quantized is not None and call.op.name == "relax.nn.max_pool2d":
        return quantized
    if call.op.name == "relax.nn.max_pool2d":
        name, function = "max_pool", max_pool(window, channels)
    else:
        name, function = "average_pool", average_pool(window, channels, bool(attrs.count_include_pad))
    result = rewriter.kernel(function, name, [data], (batch, out_height, out_width, channels), "float32")
    return relax.op.permute_dims(rewriter.emit(result), TO_CHANNELS_FIRST) if layout == "NCHW" else result


def _matmul(rewriter: _TemplateRewriter, call: Any, fixed: bool) -> Any:
    left, right = call.args
    if not _is_f32(left, right, call) or min(len(shape_of(left)), len(shape_of(right))) < 2:
        return None
    *batch, rows, depth = shape_of(left)
    *other, _, columns = shape_of(right)
    if 0 in shape_of(call) or depth == 0 or shape_of(call) != (*batch, rows, columns):
        return None  # the left operand would have to broadcast
    if fixed and not other:
        compressed = rewriter.packed_layers.matmul(rewriter, left, right)
        if compressed is not None:
            return compressed
        shape = Matmul.constant(batch, rows, depth, columns, rewriter.core)
        packed = rewriter.packed(
            right, lambda array: pack_matrix(array, shape.lanes), partial(cpu_matmul.packing, shape)
        )
        return rewriter.kernel(dense(shape), "dense", [left, packed], shape_of(call), "float32")
    shape = Matmul.tiled(batch, other, rows, depth, columns, rewriter.core)
    return rewriter.kernel(matmul(shape), "matmul", [left, right], shape_of(call), "float32")


def _is_f32(*exprs: Any) -> bool:
    return all(str(expr.ty.dtype) == "float32" for expr in exprs)


def _window(image: tuple[int, ...], out: tuple[int, ...], kernel: Any, attrs: Any) -> Window:
    """A window over ``image``: batch, height and width."""
    batch, height, width = image
    sizes = (*kernel, *attrs.strides, *attrs.dilation, attrs.padding[0], attrs.padding[1])
    return Window(batch, height, width, *out, *(int(size) for size in sizes))


_TEMPLATES: Mapping[str, Callable[[_TemplateRewriter, Any, bool], Any]] = {
    "relax.matmul": _matmul,
    "relax.nn.conv2d": _conv2d,
    "relax.nn.max_pool2d": _pool,
    "relax.nn.avg_pool2d": _pool,
}
