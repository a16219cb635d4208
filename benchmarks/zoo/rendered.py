"""Text rendered as images with a fixed seed: the labelled data for the OCR models.

Words are drawn from a fixed list, numbers at random, in five faces of DejaVu (from matplotlib's wheel), dark ink on
light paper with a little noise. It is easier than photographs of text and is meant to tell two runtimes apart, not
to rank OCR systems.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.zoo.store import pypi_file

FACES = ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSansMono")
WORDS = re.findall(
    r"\w+",
    """
    after apple autumn bridge candle capital carbon chapter circle copper corner country cotton culture danger
    daughter dinner district doctor double engine evening factory father finger forest garden gentle glacier
    ground harbour history hundred island journey kitchen ladder language leather library machine marble
    market measure message minute mirror morning mountain museum narrow nature needle number object orange
    oxygen palace paper pattern pencil people period picture planet pocket police purple quarter railway
    reason record river school season second shadow silver simple station street summer surface system table
    temple theatre thunder travel triangle tunnel valley velvet village violin wagon weather whistle window
    winter wonder yellow
    """,
)
Image = npt.NDArray[np.uint8]  # [height, width, 3]


@dataclass(frozen=True)
class Line:
    """A line of text and its tight box in a page: left, top, right, bottom in pixels."""

    text: str
    box: tuple[int, int, int, int]


@cache
def _font(face: str, size: int) -> Any:
    from PIL import ImageFont

    path = pypi_file("matplotlib", "3.10.0", f"matplotlib/mpl-data/fonts/ttf/{face}.ttf")
    return ImageFont.truetype(io.BytesIO(path.read_bytes()), size)


def _phrase(rng: np.random.Generator, words: int) -> str:
    parts = []
    for _ in range(words):
        word = str(rng.choice(WORDS)) if rng.random() < 0.8 else str(rng.integers(10, 10_000))
        parts.append(word.capitalize() if rng.random() < 0.3 else word)
    return " ".join(parts)


def page(seed: int, height: int, width: int) -> tuple[Image, list[Line]]:
    """A page of text lines one below the other, and what is written where."""
    from PIL import Image as Pillow
    from PIL import ImageDraw

    rng = np.random.default_rng(seed)
    sheet = Pillow.new("RGB", (width, height), tuple(rng.integers(225, 256, 3).tolist()))
    draw = ImageDraw.Draw(sheet)
    lines: list[Line] = []
    top = int(rng.integers(10, 30))
    while True:
        font = _font(str(rng.choice(FACES)), int(rng.integers(16, 34)))
        text = _phrase(rng, int(rng.integers(1, 5)))
        left = int(rng.integers(8, 80))
        x0, y0, x1, y1 = (int(edge) for edge in draw.textbbox((left, top), text, font=font))
        if y1 > height - 8:
            break
        if x1 < width - 8:
            draw.text((left, top), text, font=font, fill=tuple(rng.integers(0, 80, 3).tolist()))
            lines.append(Line(text, (x0, y0, x1, y1)))
            top = y1 + int(rng.integers(14, 40))
    return _noisy(np.asarray(sheet), rng), lines


def line(seed: int) -> tuple[Image, str]:
    """One line of text, cut out with a margin of a few pixels."""
    from PIL import Image as Pillow
    from PIL import ImageDraw

    rng = np.random.default_rng(seed)
    font = _font(str(rng.choice(FACES)), int(rng.integers(24, 40)))
    text = _phrase(rng, int(rng.integers(1, 4)))
    x0, y0, x1, y1 = (int(edge) for edge in font.getbbox(text))
    margin = int(rng.integers(3, 8))
    size = (x1 - x0 + 2 * margin, y1 - y0 + 2 * margin)
    sheet = Pillow.new("RGB", size, tuple(rng.integers(225, 256, 3).tolist()))
    ink = tuple(rng.integers(0, 80, 3).tolist())
    ImageDraw.Draw(sheet).text((margin - x0, margin - y0), text, font=font, fill=ink)
    return _noisy(np.asarray(sheet), rng), text


def _noisy(image: Image, rng: np.random.Generator) -> Image:
    noisy = image + rng.normal(0, 6, image.shape)
    return noisy.clip(0, 255).astype(np.uint8)


def fit(image: Image, height: int, width: int) -> npt.NDArray[np.float32]:
    """The image scaled to `height`, cut or zero-padded right to `width`: float32 [1, 3, height, width] in -1 to 1."""
    from PIL import Image as Pillow

    scaled = min(width, -(-image.shape[1] * height // image.shape[0]))
    pixels = np.asarray(Pillow.fromarray(image).resize((scaled, height), Pillow.Resampling.BILINEAR), np.float32)
    out = np.zeros((1, 3, height, width), np.float32)
    out[0, :, :, :scaled] = pixels.transpose(2, 0, 1) / 127.5 - 1
    return out
