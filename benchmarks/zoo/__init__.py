"""Real, trained networks with labelled data, out of pinned registry packages; one file a family.

What each needs beyond the package's own dependencies is in the extra "models": Pillow, tokenizers and torch.
"""

from __future__ import annotations

from benchmarks.zoo import efficientnet_lite0, magika, minilm, mnist_conv, ppocr, silero_vad
from benchmarks.zoo.base import Model

ZOO: tuple[Model, ...] = (
    mnist_conv.MODEL,
    efficientnet_lite0.MODEL,
    minilm.MODEL,
    *ppocr.MODELS,
    magika.MODEL,
    *silero_vad.MODELS,
)
