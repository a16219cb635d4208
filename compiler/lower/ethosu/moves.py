"""Concatenation and resizing in the accelerator's terms: maps that are slices of another one, and doubling.

A concatenation takes no time where its parts are written to their places right away. Others are copied there, by a mean
of single elements. Resizing by a power of two doubles over and over.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from tilewright.integer.network import Concat, Map, Network, Operation, Pooling, Resize, View
from tilewright.integer.windows import Window

BRICK = 16  # channels

DOUBLE = (2, 2)


def spell_out(network: Network) -> Network:
    """The same network, in which every part of a concatenation may lie in its result, and resizing is by two."""
    return _Spelling(network).run()


def slices(network: Network) -> dict[int, tuple[int, int]]:
    """For each part of a concatenation its result, and the channel that it begins at."""
    found = {}
    for operation in network.operations:
        if isinstance(operation, Concat):
            begin = 0
            for part in operation.parts:
                found[part] = operation.target, begin
                begin += network.maps[part].shape[2]
    return found


def in_bricks(parts: Mapping[int, tuple[int, int]]) -> set[int]:
    """Of the results of concatenations those that may lie in blocks of channels: their parts begin with one."""
    torn = {target for target, begin in parts.values() if begin % BRICK}
    return {target for target, _ in parts.values()} - torn


class _Spelling:
    def __init__(self, network: Network) -> None:
        self._network = network
        self._maps = list(network.maps)
        self._operations: list[Operation] = []
        views = [operation for operation in network.operations if isinstance(operation, View)]
        joined = [operation for operation in network.operations if isinstance(operation, Concat)]
        # Maps with a place of their own: who shares it has to agree on where it is.
        self._fixed = {*network.inputs, *network.outputs, *(operation.target for operation in joined)}
        self._fixed |= {index for view in views for index in (view.source, view.target)}
        self._uses = Counter(part for operation in joined for part in operation.parts)

    def run(self) -> Network:
        for operation in self._network.operations:
            if isinstance(operation, Concat):
                parts = tuple(self._own(operation, part) for part in operation.parts)
                self._operations.append(replace(operation, parts=parts))
            elif isinstance(operation, Resize):
                self._double(operation)
            else:
                self._operations.append(operation)
        return replace(self._network, maps=tuple(self._maps), operations=tuple(self._operations))

    def _own(self, operation: Concat, part: int) -> int:
        """A part that may lie in the result: itself or a copy."""
        if part not in self._fixed and self._uses[part] == 1:
            return part
        copy = self._map(self._maps[part], self._maps[part].shape)
        self._operations.append(Pooling(operation.layer, part, copy, "AVERAGE", Window((1, 1))))
        return copy

    def _double(self, operation: Resize) -> None:
        source, (factor, _) = operation.source, operation.factors
        while factor > 2:
            height, width, depth = self._maps[source].shape
            doubled = self._map(self._maps[source], (2 * height, 2 * width, depth))
            self._operations.append(replace(operation, source=source, target=doubled, factors=DOUBLE))
            source, factor = doubled, factor // 2
        self._operations.append(replace(operation, source=source, factors=(factor, factor)))

    def _map(self, like: Map, shape: tuple[int, int, int]) -> int:
        self._maps.append(replace(like, name=f"{like.name}.{len(self._maps)}", shape=shape))
        return len(self._maps) - 1
