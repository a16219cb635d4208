"""Products and convolutions whose lanes are rows or pixels, at every instruction set of this machine."""

from __future__ import annotations

import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.targets.running import levels_here
from tests.targets.schedules.planar_layers import check, convolution, product
from tilewright.targets.schedules import cpu_packed_layers
from tilewright.targets.schedules.cpu_planar import Planar, offsets, planar

BLOCKS = ["block_sparse(16,1)", "block_sparse(4,4)", "block_sparse(8,2)", "block_sparse(16,4)", "block_sparse(1,16)"]
CODECS = ["f32", "f16", "int8", "int4", "int7"]


@pytest.mark.parametrize("activations", [0, 8])
@pytest.mark.parametrize("level", [0, 1, 2])
def test_products(level: int, activations: int) -> None:
    levels = levels_here()
    device = levels[level % len(levels)]

    @settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        st.sampled_from([9, 16, 17, 33]),
        st.sampled_from([64, 70, 128]),
        st.integers(1, 70),
        st.sampled_from(BLOCKS),
        st.sampled_from(CODECS),
    )
    def property_holds(rows: int, depth: int, outputs: int, block: str, codec: str) -> None:
        check(product(rows, depth, outputs), device, block, codec, activations)

    property_holds()


@pytest.mark.parametrize("activations", [0, 8])
@pytest.mark.parametrize("level", [0, 1, 2])
def test_convolutions(level: int, activations: int) -> None:
    levels = levels_here()
    device = levels[level % len(levels)]

    @settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        st.sampled_from([16, 32]),
        st.sampled_from([(1, 20), (17, 19), (14, 14), (9, 33), (5, 24), (6, 36)]),
        st.integers(1, 40),
        st.sampled_from([(1, 0), (3, 1), (3, 0)]),
        st.sampled_from(BLOCKS),
        st.sampled_from(CODECS),
    )
    def property_holds(
        channels: int, image: tuple[int, int], outputs: int, kernel: tuple[int, int], block: str, codec: str
    ) -> None:
        if image[0] + 2 * kernel[1] >= kernel[0]:
            check(convolution(channels, *image, outputs, *kernel), device, block, codec, activations)

    property_holds()


@pytest.mark.parametrize("activations", [0, 8])
@pytest.mark.parametrize(
    ("height", "width", "kernel", "pad"), [(14, 14, 3, 1), (16, 16, 3, 0), (1, 9, 1, 0), (14, 14, 1, 0), (9, 33, 3, 1)]
)
def test_no_vector_reaches_past_the_image(
    monkeypatch: pytest.MonkeyPatch, height: int, width: int, kernel: int, pad: int, activations: int
) -> None:
    """Rows that are shorter than a register included: what lies behind an image may be nobody's memory. Of images that
    are not padded, only what ``edges`` allows is read."""
    ends: list[int] = []

    def spy(layer: Planar) -> object:
        b, w = layer.blocks, layer.window
        assert w is not None
        length = layer.rows if layer.is_flat else w.out_width
        pixel = max(0, length - b.lanes) + (0 if layer.is_flat else (w.out_height - 1) * w.width)
        last_word = (b.bw // b.word - 1) * layer.plane
        end = max(offsets(layer)) + last_word + (pixel + b.lanes) * b.word
        ends.append(math.prod(layer.data_shape) - end)
        return planar(layer)

    monkeypatch.setattr(cpu_packed_layers, "planar", spy)
    monkeypatch.setattr(cpu_packed_layers, "reads_bare", lambda *_: False)
    model = convolution(16, height, width, 32, kernel, pad)
    check(model, levels_here()[-1], "block_sparse(16,4)", "int8", activations)
    assert len(ends) == 1
    assert ends[0] >= 0
