"""PP-OCRv4: text detection, direction classification and recognition, as rapidocr ships them (Apache-2.0).

Every model takes "x", float32 [N, 3, H, W] in -1 to 1 (channels blue, green, red; the text here is near enough to grey
for the order not to matter) and has one output. Data: text rendered by rendered.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache

import numpy as np
import numpy.typing as npt
import onnx

from benchmarks.zoo import rendered
from benchmarks.zoo.base import Accuracy, Array, Model, Run, fraction_right, single, top1
from benchmarks.zoo.store import pypi_file

HEIGHT, WIDTH = 480, 640
PAGES, LINES = 6, 60
MORE_LINES = range(LINES, LINES + 600)  # seeds of lines that tell compressed networks apart
OTHER_LINES = range(10_000, 10_096)  # seeds of lines to calibrate on
INK = 0.3  # probability from which a pixel counts as text, rapidocr's own setting
REC, DET, CLS = "ch_PP-OCRv4_rec_infer.onnx", "ch_PP-OCRv4_det_infer.onnx", "ch_ppocr_mobile_v2.0_cls_infer.onnx"


def _file(name: str) -> str:
    return str(pypi_file("rapidocr-onnxruntime", "1.4.4", f"rapidocr_onnxruntime/models/{name}"))


@cache
def _characters() -> list[str]:
    """Class 0 is CTC's blank; the characters are in the model's metadata, a line each; the last class is the space."""
    model = onnx.load(_file(REC), load_external_data=False)
    (listed,) = [entry.value for entry in model.metadata_props if entry.key == "character"]
    return ["", *listed.splitlines(), " "]


def _decode(classes: npt.NDArray[np.int64]) -> str:
    """CTC: repeats are merged, then blanks dropped."""
    kept = [now for now, before in zip(classes, [-1, *classes[:-1]], strict=True) if now != before]
    return "".join(_characters()[index] for index in kept)


def _distance(a: str, b: str) -> int:
    """Levenshtein distance."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        diagonal, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (x != y))
    return row[-1]


def _lines(width: int, seeds: Iterable[int] = range(LINES)) -> Iterator[tuple[dict[str, Array], str]]:
    for seed in seeds:
        image, text = rendered.line(seed)
        yield {"x": rendered.fit(image, 48, width)}, text


def _characters_right(run: Run, seeds: Iterable[int] = range(LINES)) -> float:
    """The share of characters read right. Paper at the ends of a line may be read as spaces, which are free."""
    wrong = total = 0
    for feed, text in _lines(320, seeds):
        wrong += _distance(_decode(top1(run(feed))[0]).strip(), text)
        total += len(text)
    return 1 - wrong / total


def _directions() -> tuple[list[dict[str, Array]], list[int]]:
    """Every line upright (class 0) and turned by 180 degrees (class 1)."""
    feeds: list[dict[str, Array]] = []
    for seed in range(LINES):
        image, _ = rendered.line(seed)
        feeds += [{"x": rendered.fit(turned, 48, 192)} for turned in (image, np.ascontiguousarray(image[::-1, ::-1]))]
    return feeds, [0, 1] * LINES


def _direction_right(run: Run) -> float:
    return fraction_right(run, *_directions())


def _pages() -> Iterator[tuple[dict[str, Array], list[rendered.Line]]]:
    for seed in range(PAGES):
        image, lines = rendered.page(seed, HEIGHT, WIDTH)
        yield {"x": rendered.fit(image, HEIGHT, WIDTH)}, lines


def _mask(outputs: dict[str, Array]) -> Array:
    return np.asarray(single(outputs)[0, 0] > INK)


def _lines_found(run: Run) -> float:
    """The fraction of lines with most of their middle band marked."""
    found = total = 0
    for feed, lines in _pages():
        mask = _mask(run(feed))
        for line in lines:
            left, top, right, bottom = line.box
            quarter = (bottom - top) // 4
            found += mask[top + quarter : bottom - quarter, left:right].mean() > 0.5
        total += len(lines)
    return found / total


def _overlap(run: Run) -> float:
    """Intersection over union of marked pixels and boxes; far below 1, for the model marks only the core of a line."""
    both = either = 0
    for feed, lines in _pages():
        mask = _mask(run(feed))
        inside = np.zeros_like(mask)
        for line in lines:
            left, top, right, bottom = line.box
            inside[top:bottom, left:right] = True
        both += int((mask & inside).sum())
        either += int((mask | inside).sum())
    return both / either


MODELS = (
    Model(
        name="ppocrv4-rec",
        onnx=lambda: pypi_file("rapidocr-onnxruntime", "1.4.4", f"rapidocr_onnxruntime/models/{REC}"),
        shapes={"x": (1, 3, 48, 320)},
        samples=lambda: [feed for feed, _ in _lines(320)][:6],
        labels=top1,
        accuracy=(
            Accuracy(f"characters right, {LINES} rendered lines", _characters_right, 1.0, 0.002),
            Accuracy(
                f"characters right, {len(MORE_LINES)} other rendered lines",
                lambda run: _characters_right(run, MORE_LINES),
                0.9997,
                0.0005,
            ),
        ),
        calibration=lambda: [feed for feed, _ in _lines(320, OTHER_LINES)],
        probes=lambda: [feed for feed, _ in _lines(320)],
    ),
    Model(
        name="ppocrv4-det",
        onnx=lambda: pypi_file("rapidocr-onnxruntime", "1.4.4", f"rapidocr_onnxruntime/models/{DET}"),
        shapes={"x": (1, 3, HEIGHT, WIDTH)},
        samples=lambda: [feed for feed, _ in _pages()][:2],
        labels=_mask,
        accuracy=(
            Accuracy(f"lines found, {PAGES} rendered pages", _lines_found, 1.0, 0.0),
            Accuracy(f"overlap of pixels, {PAGES} rendered pages", _overlap, 0.401, 0.001),
        ),
    ),
    Model(
        name="ppocrv2-cls",
        onnx=lambda: pypi_file("rapidocr-onnxruntime", "1.4.4", f"rapidocr_onnxruntime/models/{CLS}"),
        shapes={"x": (1, 3, 48, 192)},
        samples=lambda: _directions()[0][:8],
        labels=top1,
        accuracy=(Accuracy(f"direction right, {2 * LINES} rendered lines", _direction_right, 1.0, 0.0),),
    ),
)
