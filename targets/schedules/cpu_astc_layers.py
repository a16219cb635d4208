"""Layers with ASTC weights, in Relax: which of them have a kernel that decodes blocks, and what surrounds it."""

from __future__ import annotations

from typing import Any

import numpy as np
from tvm import relax

from tilewright.formats.codecs.astc.codec import Astc
from tilewright.formats.codecs.astc.modes import BLOCK_BYTES
from tilewright.formats.layouts.dense import Dense
from tilewright.plan import PackedParameter
from tilewright.targets.base import Device
from tilewright.targets.layer_rewriter import LayerRewriter, constant, shape_of
from tilewright.targets.packed_weights import ANY_MODE, CompressedWeight, PackedWeights
from tilewright.targets.schedules.cpu_astc import AstcLayer, astc
from tilewright.targets.schedules.cpu_astc_blocks import AstcBlocks
from tilewright.targets.schedules.cpu_kernel_weights import BREAK_EVEN_ONE_ROW
from tilewright.targets.schedules.cpu_staging import image_with_padding, padded_image
from tilewright.targets.schedules.cpu_tile import Core
from tilewright.targets.schedules.cpu_winograd import speedup
from tilewright.targets.schedules.window import Window

_FIELD_BITS = 8  # of symbols to entropy coders: fields of a word are of a block's columns and no symbol of their own
_FILLED = 0.85  # of the lanes have block rows at least
_CACHES = 8  # second-level caches that unpacked weights take before many rows are better off with packed ones


def reads(weight: CompressedWeight) -> bool:
    """Whether this file is about a weight. Kernels of sparse ones have floats, see ``cpu_packed_layers``."""
    return isinstance(weight.format.codec, Astc) and isinstance(weight.format.layout, Dense)


def slower(layer: AstcLayer, unpacked_bytes: int, device: Device) -> str:
    """Why unpacked weights are predicted to be as fast; "" where decoding pays.

    Few rows save reading. Many rows hide it; they save that a stage stays in the first-level cache, where the weights
    of a large layer do not stay in the second. Time packed by time dense, least of 15 to 120 runs on a busy Sapphire
    Rapids core. AVX-512: 1 row by 4096x4096 (64 MB unpacked) at 6x6 .20, by 1024x4096 (16 MB) at 4x4, 6x6, 8x5 and
    12x12 .23, .37, .34 and .49; 8 and 64 rows by 1024x4096 at 6x6 .56 and .38; 8 and 32 rows by 512x2048 (4 MB) at 4x4
    1.2; 3x3 convolutions at 6x6, of 512 channels at 7x7 (9 MB) .97, of 128 at 28x28 (.6 MB) 1.6. AVX2: 1 row by
    512x2048 at 6x6 .52, at 5x5 .95, at 4x4 and 10x6, whose tables are gathered, 1.3.

    Args:
        unpacked_bytes: of all compressed weights of the network.
    """
    b, core = layer.blocks, Core.of(device)
    filled = b.block_rows / (-(-b.block_rows // b.lanes) * b.lanes)
    decoding = b.decoding(device) / filled
    if decoding > BREAK_EVEN_ONE_ROW * core.reading(unpacked_bytes):
        return "decoding ASTC blocks costs more than reading unpacked weights"
    large = 4 * b.outputs * b.depth > _CACHES * core.l2_bytes
    if layer.strip and not (large and filled >= _FILLED):
        return "computes in float32 for many rows, where unpacked weights are as fast"
    if layer.window is not None and speedup(layer.window, layer.shape[3], b.outputs, 1, device) > 1:
        return "unpacked weights need fewer multiplications, by minimal filtering"
    return ""


def product(
    rewriter: LayerRewriter, data: Any, weight: CompressedWeight, weights: PackedWeights, device: Device
) -> Any:
    """A product by the transpose of the weight; the reason if the dense kernel is to do it."""
    layer = _layer(weight, shape_of(data), None, weights.unpacked_bytes, device)
    return layer if isinstance(layer, str) else _emit(rewriter, layer, data, weight, weights, device)


def convolution(
    rewriter: LayerRewriter,
    data: Any,
    weight: CompressedWeight,
    weights: PackedWeights,
    device: Device,
    window: Window,
) -> Any:
    """A convolution of an NHWC image; the reason if the dense kernel is to do it."""
    shape, inner = image_with_padding(window, shape_of(data), 1)
    layer = _layer(weight, shape, inner, weights.unpacked_bytes, device)
    if isinstance(layer, str):
        return layer
    image = data if shape == shape_of(data) else padded_image(rewriter, data, window, shape, None)
    return _emit(rewriter, layer, image, weight, weights, device)


def _layer(
    weight: CompressedWeight, shape: tuple[int, ...], window: Window | None, unpacked_bytes: int, device: Device
) -> AstcLayer | str:
    codec, core = weight.format.codec, Core.of(device)
    assert isinstance(codec, Astc)
    blocks = AstcBlocks.of(codec, weight.unpack.matrix, core.lanes)
    if blocks is None:
        return ANY_MODE
    layer = AstcLayer(blocks, shape, window).tiled(core)
    return slower(layer, unpacked_bytes, device) or layer


def _emit(
    rewriter: LayerRewriter,
    layer: AstcLayer,
    data: Any,
    weight: CompressedWeight,
    weights: PackedWeights,
    device: Device,
) -> Any:
    b = layer.blocks
    packed = b.pack(weight.arrays["blocks"].reshape(b.block_rows, b.across, BLOCK_BYTES))
    if isinstance(packed, str):
        return packed
    source = weight.source["blocks"]
    operands = [data]
    if layer.window is not None:
        operands.append(constant(np.array(layer.window.offsets(layer.shape[2], layer.shape[3]), np.int32)))
    operands.append(weights.add(PackedParameter(source.name, packed, source.storage, _FIELD_BITS)))
    operands.append(constant(b.table(device)))
    result = rewriter.emit_kernel(astc(layer, device), "astc", operands, layer.out_shape, "float32")
    return relax.op.multiply(result, constant(weight.arrays["scales"].ravel()))
