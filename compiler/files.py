"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from tilewright.errors import TilewrightError, UsageError


def replace_file(path: str | Path, chunks: Sequence[bytes | memoryview], what: str) -> None:
    """Writes a file, or leaves what was there: a temporary file beside it is synced, then renamed.

    Args:
        chunks: its contents, in order.
        what: the file's name in messages, for example "the report".

    Raises:
        UsageError: the folder is missing, or the path is no regular file.
        TilewrightError: it cannot be written, for example for lack of space; nothing is left behind.
    """
    goal = Path(path)
    if not goal.parent.is_dir():
        raise UsageError(f"{goal}: cannot write {what}: there is no folder {goal.parent}")
    if goal.exists() and not goal.is_file():
        raise UsageError(f"{goal}: not a regular file, and {what} can only replace files")
    temporary: str | None = None
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{goal.name}.", suffix=".tmp", dir=goal.parent)
        with open(handle, "wb") as file:
            file.writelines(chunks)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, goal)
        temporary = None
    except OSError as error:
        nbytes = sum(map(len, chunks))
        raise TilewrightError(f"{goal}: cannot write {what} ({nbytes} bytes): {error.strerror}") from error
    finally:
        if temporary is not None:
            with suppress(OSError):
                os.unlink(temporary)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
