"""Vectors in OpenCL's global memory that are read and written whole, where their address is known to be aligned.

``vload4`` and ``vstore4`` promise a compiler no more than the alignment of an element (OpenCL 1.2, section 6.12.7), and
it may move elements one by one; Mesa's does. A vector behind a pointer to vectors is aligned as a whole (6.1.5). Every
buffer is, since the runtime places them at multiples of 256 bytes; what is left is that the vector's size divides the
index. Private and local arrays stay as they are: compilers keep those in registers only while no pointer of another
type reads them.
"""

from __future__ import annotations

import re

from tilewright.targets.opencl_source import closing, divided

_POINTER = re.compile(r"__global (const )?(\w+)\* restrict (\w+)")
_LOAD = re.compile(r"\bvload(2|4|8|16)\(0, (\w+) \+ ")
_STORE = re.compile(r"\bvstore(2|4|8|16)\(")


def with_vectors(kernel: str) -> str:
    """A kernel that reads and writes aligned vectors of its parameters whole."""
    pointers = {name: f"__global {const}{dtype}" for const, dtype, name in _POINTER.findall(kernel)}
    return _with_stores(_with_loads(kernel, pointers), pointers)


def _with_loads(text: str, pointers: dict[str, str]) -> str:
    parts, at = [], 0
    while found := _LOAD.search(text, at):
        end = closing(text, found.end(), "(", ")")
        index = text[found.end() : end - 1]
        vector = _vector(found[2], index, found[1], pointers)
        inner = _with_loads(index if vector is None else vector, pointers)
        parts += [text[at : found.start()], f"{found[0]}{inner})" if vector is None else inner]
        at = end
    return "".join([*parts, text[at:]])


def _with_stores(text: str, pointers: dict[str, str]) -> str:
    parts, at = [], 0
    for found in _STORE.finditer(text):
        end = closing(text, found.end(), "(", ")")
        value, _, place = text[found.end() : end - 1].rpartition(", 0, ")
        name, _, index = place.partition(" + ")
        vector = _vector(name, index, found[1], pointers)
        if vector is not None:
            parts += [text[at : found.start()], f"{vector} = {value}"]
            at = end
    return "".join([*parts, text[at:]])


def _vector(name: str, index: str, lanes: str, pointers: dict[str, str]) -> str | None:
    """The vector of a parameter at an index of elements; None where it may lie across two."""
    place = divided(index, int(lanes)) if name in pointers else None
    return None if place is None else f"(({pointers[name]}{lanes}*){name})[{place}]"
