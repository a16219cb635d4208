"""What the bytes of an artifact file are spent on, to the byte."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tilewright import artifact_container as container
from tilewright.artifact_tables import Stored, stored


@dataclass(frozen=True)
class Sizes:
    """Bytes of a file; all numbers together are its size.

    Attributes:
        constants: by buffer name, as they lie in the file. Equal contents are stored once and count for the first name.
        rest: "code", "tables", "metadata", "self-test", "header" (with the table of segments), and "padding" between
            and within segments. Code, tables and metadata count as they lie in the file, which may be deflated.
    """

    constants: Mapping[str, int]
    rest: Mapping[str, int]

    @property
    def total(self) -> int:
        return sum(self.constants.values()) + sum(self.rest.values())


def sizes(file: memoryview) -> Sizes:
    """Reads the tables of an artifact file.

    Raises:
        ArtifactError: as `artifact_container.segments`, or the tables are damaged.
    """
    found = container.segments(file)
    images, constants = stored(found[container.PLAN])
    of_constants = _distinct(constants)
    taken = container.file_bytes(file)
    rest = {
        "code": min(taken[container.CODE], sum(_distinct(images).values())),  # raw, the segment is padded within
        "tables": taken[container.PLAN],
        "metadata": taken[container.METADATA],
        "self-test": taken.get(container.SELFTEST, 0),
        "header": container.head_bytes(len(found)),
    }
    padding = len(file) - sum(of_constants.values()) - sum(rest.values())
    return Sizes(of_constants, {**rest, "padding": padding})


def _distinct(ranges: Sequence[Stored]) -> dict[str, int]:
    """Bytes by name, each byte once: those that two ranges share count for the first name."""
    taken: dict[str, int] = {}
    known: set[tuple[int, int]] = set()
    for item in ranges:
        place = item.offset, item.nbytes
        taken[item.name] = taken.get(item.name, 0) + (0 if place in known else item.nbytes)
        known.add(place)
    return taken
