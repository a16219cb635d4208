"""Files are written whole or not at all, and the message says why not."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest

from tilewright.errors import TilewrightError
from tilewright.files import replace_file


def test_a_file_is_made_of_its_chunks_and_replaces_an_old_one(tmp_path: Path) -> None:
    goal = tmp_path / "page.html"
    cases: list[list[bytes | memoryview]] = [[b"old"], [b"new ", memoryview(b"and longer")]]
    for chunks in cases:
        replace_file(goal, chunks, "the page")
        assert goal.read_bytes() == b"".join(chunks)
    assert [entry.name for entry in tmp_path.iterdir()] == ["page.html"]


def test_permissions_are_those_of_any_new_file(tmp_path: Path) -> None:
    replace_file(tmp_path / "a", [b""], "the page")
    (tmp_path / "b").write_bytes(b"")
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode


def test_a_full_disk_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    goal = tmp_path / "page.html"
    goal.write_bytes(b"old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, limits[1]))  # writes beyond fail as on a full disk
    try:
        with pytest.raises(TilewrightError, match=r"page\.html: cannot write the page \(9000 bytes\): File too large"):
            replace_file(goal, [bytes(9000)], "the page")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert goal.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["page.html"]


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(TilewrightError, match=r"cannot write the page: there is no folder .*absent"):
        replace_file(tmp_path / "absent" / "page.html", [b""], "the page")
    assert list(tmp_path.iterdir()) == []


def test_only_regular_files_are_replaced(tmp_path: Path) -> None:
    """Renaming onto a device would remove it."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for goal in (tmp_path, pipe):
        with pytest.raises(TilewrightError, match="not a regular file, and the page can only replace files"):
            replace_file(goal, [b""], "the page")
    assert pipe.is_fifo()
