"""Small constants take the shorter of two forms, and hold what they held."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilewright.artifact import Artifact
from tilewright.lower.constants import compact
from tilewright.plan import COPY, ENTROPY, RAW, Buffer, BufferKind, Launch, Plan


def constant(data: np.ndarray, name: str = "c") -> Buffer:
    return Buffer(name, BufferKind.CONSTANT, str(data.dtype), data.shape, data=data)


def file_of(*buffers: Buffer) -> Artifact:
    outputs = tuple(Buffer(f"y{n}", BufferKind.OUTPUT, b.dtype, b.shape) for n, b in enumerate(buffers))
    count = len(buffers)
    copies = tuple(Launch("copy", COPY, (n, count + n)) for n in range(count))
    return Artifact(Plan("cpu", "cpu", (*buffers, *outputs), (), tuple(range(count, 2 * count)), copies, (), 0))


@given(st.integers(0, 600), st.sampled_from(["uint8", "uint16", "int32", "float32", "int64"]), st.integers(0, 30))
@settings(max_examples=60, deadline=None)
def test_the_file_gets_no_larger_and_holds_the_same(count: int, dtype: str, log_range: int) -> None:
    random = np.random.default_rng(count)
    data = (random.standard_normal(count) * 2.0**log_range).astype(dtype if dtype != "float32" else np.float32)
    one, other = constant(data), constant(np.concatenate([data[1:], data[:1]]), "d")
    before, after = file_of(one, other), file_of(compact(one), compact(other))
    # an estimate decides, which is right within a few bytes
    assert after.sizes().total <= before.sizes().total + 16
    for buffer, wanted in zip(Artifact.load(after.to_bytes()).plan.constants(), (one, other), strict=True):
        np.testing.assert_array_equal(buffer.data, wanted.data)


def test_offsets_get_shorter() -> None:
    offsets = constant(np.arange(0, 2304, 4, dtype=np.int32))
    coded = file_of(compact(offsets)).sizes().constants["c"]
    assert coded < offsets.nbytes / 2


def test_large_constants_and_chosen_forms_stay() -> None:
    large = constant(np.zeros(1 << 13, np.int32))
    assert compact(large).storage == RAW
    chosen = Buffer("c", BufferKind.CONSTANT, "uint8", (3,), 0, np.zeros(3, np.uint8), ENTROPY, 4)
    assert compact(chosen) is chosen
    arena = Buffer("t", BufferKind.ARENA, "uint8", (3,))
    assert compact(arena) is arena


@pytest.mark.parametrize("count", [1, 63])
def test_what_would_be_padded_is_not(count: int) -> None:
    buffers = [constant(np.random.default_rng(n).standard_normal(count), f"c{n}") for n in range(20)]
    sizes = file_of(*map(compact, buffers)).sizes()
    assert sum(sizes.constants.values()) == 20 * (8 * count + 1)
