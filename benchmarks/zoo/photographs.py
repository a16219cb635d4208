"""Photographs out of registry packages, and random crops of them the way ImageNet classifiers are fed.

Crops to measure with and crops to calibrate on come from different photographs.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from functools import cache
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from benchmarks.zoo.store import pypi_file, pypi_names

IMAGES = ("scikit-image", "0.25.2", "skimage/data")
SCIKIT_LEARN = ("scikit-learn", "1.7.2", "sklearn/datasets/images")
MATPLOTLIB = ("matplotlib", "3.10.0", "matplotlib/mpl-data/sample_data")
IMAGENET = ("foolbox", "3.3.4", "foolbox/data")

Source: TypeAlias = tuple[str, str, str, str]  # package, version, folder, file

CALIBRATION = (
    *((*IMAGES, name) for name in ("coffee.png", "motorcycle_left.png", "brick.png", "grass.png", "ihc.png")),
    *((*SCIKIT_LEARN, name) for name in ("china.jpg", "flower.jpg")),
    (*MATPLOTLIB, "grace_hopper.jpg"),
)
EVALUATION = tuple(
    (*IMAGES, name) for name in ("astronaut.png", "camera.png", "chelsea.png", "coins.png", "rocket.jpg")
)

GRADIO = ("gradio", "6.31.0", "gradio")
MORE = (
    *((*GRADIO, f"media_assets/images/{name}") for name in ("cheetah.jpg", "cheetah1.jpg", "tower.jpg", "groot.jpeg")),
    (*GRADIO, "test_data/cheetah2.jpg"),
    *(("mahotas", "1.4.19", "mahotas/demos/data", name) for name in ("DepartmentStore.jpg", "luispedro.jpg")),
    *(("ultralytics", "8.4.190", "ultralytics/assets", name) for name in ("bus.jpg", "zidane.jpg")),
    ("imgaug", "0.4.0", "imgaug", "quokka.jpg"),
    ("insightface", "2.1", "insightface/data/images", "t1.jpg"),
    *(
        ("pyiqa", "0.1.16", "tests/test_efficiency_img_dir", f"{name}.jpg")
        for name in ("SPAQ_10241", "frame_4wrwr48cdk6rbcjl", "frame_7gzdcz9sif0ekg31", "frame_9ogwhvvy7gfj6jzh")
    ),
)
"""More photographs to calibrate on; with those above 23, a number that no even choice of crops keeps step with."""

Pixels = npt.NDArray[np.float32]  # [side, side, 3], 0 to 255


def imagenet() -> list[str]:
    """Names of foolbox's 20 ImageNet photographs, in order; each ends in its class (imagenet_00_243.jpg)."""
    names = pypi_names(*IMAGENET[:2], f"{IMAGENET[2]}/imagenet_*.jpg")
    return sorted(name.rsplit("/", 1)[1] for name in names)


def imagenet_sources() -> tuple[Source, ...]:
    """The same with package, version and folder."""
    return tuple((*IMAGENET, name) for name in imagenet())


@cache
def photograph(package: str, version: str, folder: str, name: str) -> Any:
    """A Pillow image in RGB."""
    from PIL import Image

    return Image.open(io.BytesIO(pypi_file(package, version, f"{folder}/{name}").read_bytes())).convert("RGB")


def crops(photographs: tuple[Source, ...], each: int, side: int, seed: int) -> Iterator[Pixels]:
    """Random crops: 30 to 100 % of the area, sides 3:4 to 4:3, half of them mirrored, bicubic to ``side``.

    They take turns, one of each photograph, so that a part of them is still a fair choice.
    """
    from PIL import Image

    rng = np.random.default_rng(seed)
    for _ in range(each):
        for source in photographs:
            image = photograph(*source)
            width, height = _size(rng, image.width, image.height)
            left = int(rng.integers(0, image.width - width + 1))
            top = int(rng.integers(0, image.height - height + 1))
            box = (left, top, left + width, top + height)
            crop = image.resize((side, side), Image.Resampling.BICUBIC, box=box)
            if rng.random() < 0.5:
                crop = crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
            yield np.asarray(crop, np.float32)


def evaluation_crops(side: int) -> Iterator[Pixels]:
    """525 crops: 21 of each ImageNet photograph of foolbox and of five of scikit-image's."""
    yield from crops((*imagenet_sources(), *EVALUATION), 21, side, seed=1)


def calibration_crops(side: int) -> Iterator[Pixels]:
    """128 crops of eight photographs, none of which is in ``evaluation_crops``."""
    yield from crops(CALIBRATION, 16, side, seed=2)


def broad_crops(side: int) -> Iterator[Pixels]:
    """230 crops of 23 photographs, none of which is in ``evaluation_crops``: for what would fit itself to eight."""
    yield from crops((*CALIBRATION, *MORE), 10, side, seed=4)


def _size(rng: np.random.Generator, width: int, height: int) -> tuple[int, int]:
    area = rng.uniform(0.3, 1.0) * width * height
    aspect = float(np.exp(rng.uniform(np.log(3 / 4), np.log(4 / 3))))
    return min(width, round((area * aspect) ** 0.5)), min(height, round((area / aspect) ** 0.5))
