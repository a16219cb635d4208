"""Bytes as they are."""

from __future__ import annotations

import numpy as np
import pytest

from tilewright.errors import ArtifactError
from tilewright.formats.storage.raw import Raw


@pytest.mark.parametrize("dtype", ["u1", "<u2", ">u2", "<f2", "<f4"])
def test_round_trip(dtype: str) -> None:
    array = np.arange(12).reshape(3, 4).astype(dtype)
    data = Raw().compress(array, 8)
    assert data == array.astype(array.dtype.newbyteorder("<")).tobytes()
    assert Raw().expand(data, len(data)).tobytes() == data


def test_another_length_is_refused() -> None:
    with pytest.raises(ArtifactError, match="3 bytes where 4 belong"):
        Raw().expand(b"abc", 4)
