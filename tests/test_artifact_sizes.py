"""Where the bytes of a file go: every one is counted, once."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings

from tests.runtime import toys
from tests.test_artifact import artifacts
from tilewright.artifact import Artifact
from tilewright.plan import ENTROPY, Buffer, BufferKind, Plan

SKEWED = np.random.default_rng(0).binomial(15, 0.1, 5000).astype(np.uint8)  # below 2 bits a symbol of 8


@given(artifacts())
@settings(max_examples=50, deadline=None)
def test_all_bytes_are_counted_once(artifact: Artifact) -> None:
    sizes = artifact.sizes()
    assert sizes.total == len(artifact.to_bytes())
    assert set(sizes.constants) == {buffer.name for buffer in artifact.plan.constants()}
    assert all(nbytes >= 0 for nbytes in sizes.rest.values())


def test_constants_count_as_they_lie_in_the_file() -> None:
    buffers = tuple(
        Buffer(name, BufferKind.CONSTANT, "uint8", shape, 0, SKEWED.reshape(shape), storage, 4)
        for name, shape, storage in (
            ("raw", (5000,), "raw"), ("coded", (5000,), ENTROPY), ("again", (50, 100), ENTROPY),
        )
    )  # fmt: skip
    sizes = Artifact(Plan("cpu", "cpu", buffers, (), (), (), (), 0)).sizes()
    assert sizes.constants["raw"] == 5000
    assert sizes.constants["again"] == 0  # equal contents
    counts = np.bincount(SKEWED)
    entropy = -(counts[counts > 0] * np.log2(counts[counts > 0] / 5000)).sum() / 8
    # as symbols of 4 bits: half of them are zeros that a coder of bytes would get for nothing
    assert entropy < sizes.constants["coded"] < 2500


def test_deflated_code_counts_as_it_lies_in_the_file() -> None:
    source = b"".join(b"// line %d\n" % n for n in range(1000)) + toys.OPENCL_SOURCE
    artifact = toys.artifact(toys.opencl_plan(source))
    sizes = artifact.sizes()
    assert 0 < sizes.rest["code"] < len(source) / 3
    assert sizes.total == len(artifact.to_bytes())


def test_code_metadata_and_the_self_test_are_told_apart() -> None:
    sizes = toys.artifact(toys.opencl_plan()).sizes()
    assert sizes.rest["code"] == len(toys.OPENCL_SOURCE)
    assert sizes.rest["metadata"] == len(b'{"report":[1,2]}')
    assert sizes.rest["self-test"] == 64 + 64 + 32  # header, x, y, each at a multiple of 64
    assert sizes.rest["header"] == 56 + 5 * 32
    assert sizes.constants == {"w": 32}
