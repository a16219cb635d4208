"""Arm's reference codec, astcenc, through the package astc-encoder-py: the slow encoder of highest quality.

It chooses block modes, partitions and endpoint modes freely, so its blocks need ``decode.decode`` or, when a network is
loaded, the decoder in general.py; a kernel that knows only the blocks of our own encoder cannot read them.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from tilewright.errors import ToolError

THOROUGH = 98.0  # astcenc's own name for this quality


def compress(
    image: npt.NDArray[np.float32], footprint: tuple[int, int], quality: float = THOROUGH, threads: int = 1
) -> npt.NDArray[np.uint8]:
    """Encodes one channel.

    Args:
        image: float32 [height, width] in 0 to 1, sides multiples of the footprint's.
        quality: astcenc's, 0 to 100.

    Returns:
        Blocks in raster order, uint8 [blocks, 16].

    Raises:
        ToolError: the package is not installed.
    """
    codec = load()
    height, width = image.shape
    pixels = np.ones((height, width, 4), np.float32)
    pixels[..., :3] = image[..., None]
    context = codec.ASTCContext(codec.ASTCConfig(codec.ASTCProfile.LDR, *footprint, quality=quality), threads=threads)
    packed = codec.ASTCImage(codec.ASTCType.F32, width, height, data=pixels.tobytes())
    data = context.compress(packed, codec.ASTCSwizzle.from_str("RRR1"))
    return np.frombuffer(data, np.uint8).reshape(-1, 16)


def decompress(
    blocks: npt.NDArray[np.uint8], footprint: tuple[int, int], dtype: type[np.float16] | type[np.uint8] = np.float16
) -> npt.NDArray[Any]:
    """Decodes blocks: dtype [blocks, height, width, 4 (RGBA)]; illegal blocks are NaN in float16.

    Raises:
        ToolError: the package is not installed.
    """
    codec = load()
    width, height = footprint
    kind = codec.ASTCType.F16 if dtype is np.float16 else codec.ASTCType.U8
    context = codec.ASTCContext(codec.ASTCConfig(codec.ASTCProfile.LDR, width, height))
    # One column of blocks, so that the image's rows are the blocks' rows.
    image = codec.ASTCImage(kind, width, height * len(blocks))
    context.decompress(np.ascontiguousarray(blocks).tobytes(), image, codec.ASTCSwizzle.from_str("RGBA"))
    assert image.data is not None
    return np.frombuffer(image.data, dtype).reshape(len(blocks), height, width, 4)


def load() -> ModuleType:
    """The package.

    Raises:
        ToolError: it is not installed.
    """
    try:
        import astc_encoder
    except ImportError:
        raise ToolError("astcenc is not installed: pip install astc-encoder-py") from None
    return astc_encoder
