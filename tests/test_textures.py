"""Texture files of a compressed model: what the model computes with can be read back from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from tests import gles
from tests.models import small_cnn
from tilewright import compression, textures
from tilewright.errors import UsageError
from tilewright.formats.codecs.astc import codec, file, modes
from tilewright.passes.encode import unpackings

ENCODERS = pytest.mark.parametrize("encoder", [{}, {"astcenc": 10}])


def compressed(recipe: dict[str, Any]) -> ir.Model:
    if "astcenc" in recipe.get("astc", {}):
        pytest.importorskip("astc_encoder", reason="the encoder is missing: pip install astc-encoder-py")
    return compression.run(small_cnn(), recipe).model


@ENCODERS
def test_files_hold_the_weights_that_the_model_has(encoder: dict[str, int], tmp_path: Path) -> None:
    """Khronos' meaning of the texels times the scales is what the unpacking node decodes, bit for bit."""
    model = compressed({"astc": {"block": "6x5", **encoder}, "layer": [{"kind": "depthwise", "weights": "float"}]})
    written = textures.export(model, tmp_path / "textures")
    nodes = list(unpackings(model.graph))
    assert len(written) == len(nodes) > 1
    for path, (node, unpacking) in zip(written, nodes, strict=True):
        image = file.read(path)
        assert path.stat().st_size == 16 + modes.BLOCK_BYTES * image.blocks.shape[0] * image.blocks.shape[1]
        assert (image.footprint, image.shape) == ((6, 5), unpacking.matrix)
        scales = np.load(path.with_suffix(".scales.npy"))
        weights = (image.texels().astype(np.float32) - np.float32(codec.ZERO)) * scales[:, None]
        order = weights.reshape(unpacking.split).transpose(unpacking.perm).reshape(unpacking.shape)
        np.testing.assert_array_equal(order, unpacking.decode(node))


@pytest.mark.parametrize("footprint", ["4x4", "5x4", "6x6", "8x6", "12x12"])
@ENCODERS
def test_a_software_renderer_reads_what_our_decoder_reads(
    encoder: dict[str, int], footprint: str, tmp_path: Path
) -> None:
    """Eight-bit texels of OpenGL ES against ours, which are of sixteen bits: within 1/255, as GPUs may round."""
    model = compressed({"astc": {"block": footprint, **encoder}})
    with gles.context() as context:
        for path in textures.export(model, tmp_path / "textures"):
            image = file.read(path)
            found = context.decode(image.blocks, image.footprint, image.shape)
            error = found[..., :3].astype(np.float64) / 255 - image.texels()[..., None] / 65535
            assert np.abs(error).max() <= 1 / 255, context.renderer
            assert (found[..., 3] == 255).all()


def test_a_model_without_textures_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no weight as ASTC"):
        textures.export(compressed({"quantize": {"weights": "int8"}}), tmp_path / "textures")
    assert not (tmp_path / "textures").exists()


def test_a_folder_that_cannot_be_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot write textures"):
        textures.export(compressed({"astc": {"block": "4x4"}}), tmp_path / "file")


def test_names_are_safe_and_different() -> None:
    taken: set[str] = set()
    for name in ("a/b", "a b", "../../etc/passwd", "", "_", "a_b"):
        taken.add(textures._stem(name, taken))
    assert taken == {"a_b", "a_b_2", "etc_passwd", "weight", "weight_2", "a_b_3"}
