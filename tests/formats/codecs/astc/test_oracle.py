"""The reference encoder: its blocks, of any kind, go through our decoder."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from tilewright.errors import ToolError
from tilewright.formats.codecs.astc import decode, oracle


@pytest.mark.parametrize("footprint", [(4, 4), (6, 6), (12, 12)])
def test_our_decoder_reads_its_blocks(footprint: tuple[int, int]) -> None:
    pytest.importorskip("astc_encoder", reason="the reference codec is missing: pip install astc-encoder-py")
    width, height = footprint
    image = np.random.default_rng(0).uniform(0.2, 0.9, (3 * height, 4 * width)).astype(np.float32)
    blocks = oracle.compress(image, footprint, oracle.THOROUGH)
    assert blocks.shape == (12, 16)
    texels, illegal = decode.decode_checked(blocks, footprint)
    assert not illegal.any()
    np.testing.assert_array_equal(decode.float16_of(texels), oracle.decompress(blocks, footprint))
    # An encoder that got rows, columns or the channel wrong would be no better than the mean.
    whole = texels[..., 0].reshape(3, 4, height, width).transpose(0, 2, 1, 3).reshape(image.shape) / 65535
    assert np.var(whole - image) < 0.8 * np.var(image)


def test_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "astc_encoder", None)
    with pytest.raises(ToolError, match="pip install astc-encoder-py"):
        oracle.decompress(np.zeros((1, 16), np.uint8), (4, 4))
