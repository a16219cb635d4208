"""Calibration data in all its forms gives feeds of the model's shapes; what cannot be used is refused by place."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.models import small_cnn
from tilewright.calibration import Input, inputs_of, load
from tilewright.errors import DataError

X = Input("x", "float32", (1, 3, 4))
PAIR = (Input("ids", "int64", (1, 5)), Input("mask", "float32", (1, 5)))


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def test_inputs_of_a_model() -> None:
    assert inputs_of(ir.from_proto(small_cnn())) == [Input("x", "float32", (1, 3, 16, 16))]


def test_npz_counts_samples_along_the_first_axis(tmp_path: Path) -> None:
    data = {"ids": np.arange(35).reshape(7, 5), "mask": random(7, 5)}
    np.savez(tmp_path / "data.npz", **data)
    feeds = load(tmp_path / "data.npz", PAIR)
    assert len(feeds) == feeds.samples == 7
    for _ in range(2):  # any number of times
        for index, feed in enumerate(feeds):
            np.testing.assert_array_equal(feed["ids"], data["ids"][index : index + 1])
            np.testing.assert_array_equal(feed["mask"], data["mask"][index : index + 1])
    assert len(feeds[2:4]) == 2


def test_an_array_of_the_models_shape_is_one_sample_and_is_repeated() -> None:
    assert len(load(random(1, 3, 4), [X])) == 1
    state = Input("state", "float32", (2, 8))
    feeds = load({"x": random(6, 3, 4), "state": random(2, 8)}, [X, state])
    assert len(feeds) == 6
    np.testing.assert_array_equal(feeds[5]["state"], random(2, 8))


def test_a_leading_axis_counts_whole_samples() -> None:
    state = Input("state", "float32", (2, 8))
    rate = Input("rate", "int64", ())
    data = {"state": random(6, 2, 8), "rate": np.arange(6)}
    feeds = load(data, [state, rate])
    assert len(feeds) == 6
    np.testing.assert_array_equal(feeds[4]["state"], data["state"][4])
    assert feeds[4]["rate"].shape == ()
    assert feeds[4]["rate"] == 4


@given(samples=st.integers(1, 9), batch=st.integers(1, 4), squeezed=st.booleans())
def test_samples_are_grouped_by_the_models_batch(samples: int, batch: int, squeezed: bool) -> None:
    data = random(samples, 3, 4)
    source: Any = list(data) if squeezed else [sample[None] for sample in data]
    feeds = load(source, [Input("x", "float32", (batch, 3, 4))])
    got = np.concatenate([feed["x"] for feed in feeds])
    assert len(feeds) == -(-samples // batch)
    np.testing.assert_array_equal(got, data[np.arange(len(got)) % samples])  # filled up with the first samples


@given(samples=st.integers(1, 30), batch=st.integers(1, 4), wanted=st.integers(1, 40))
def test_a_part_is_taken_evenly(samples: int, batch: int, wanted: int) -> None:
    feeds = load([np.full((1, 2), at, np.float32) for at in range(samples)], [Input("x", "float32", (batch, 2))])
    part = feeds.evenly(wanted)
    places = [int(feed["x"][0, 0]) // batch for feed in part]
    assert len(part) == min(len(feeds), max(1, wanted // batch))
    steps = np.diff([*places, len(feeds)])
    assert places[0] == 0
    assert steps.min() >= 1
    assert steps.max() - steps.min() <= 1


def test_a_folder_holds_one_sample_a_file(tmp_path: Path) -> None:
    data = random(3, 3, 4)
    np.save(tmp_path / "b.npy", data[1])
    np.savez(tmp_path / "a.npz", x=data[0:1])
    np.savez(tmp_path / "c.npz", x=data[2])
    (tmp_path / "readme.txt").write_text("not data")
    np.testing.assert_array_equal(np.concatenate([feed["x"] for feed in load(tmp_path, [X])]), data)


def test_a_generator_can_be_gone_through_again() -> None:
    def samples() -> Iterator[dict[str, np.ndarray]]:
        yield {"x": random(1, 3, 4)}
        yield {"x": random(3, 4)}

    feeds = load(samples(), [X])
    assert [feed["x"].shape for feed in feeds] * 2 == [feed["x"].shape for _ in range(2) for feed in feeds]


def test_other_widths_of_a_kind_are_converted() -> None:
    feeds = load({"ids": np.ones((2, 5), np.int32), "mask": np.ones((2, 5))}, PAIR)
    assert [feeds[0][tensor.name].dtype for tensor in PAIR] == [np.int64, np.float32]


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ([], ["no calibration sample"]),
        ({"x": np.zeros((0, 3, 4), np.float32)}, ["no calibration sample"]),
        ({"y": random(1, 3, 4)}, ["no input 'y'", "inputs are x", "'x' is missing"]),
        ({}, ["'x' is missing"]),
        ({"x": random(5, 3, 5)}, ["'x'", "5x3x5", "1x3x4"]),
        ([random(1, 3, 4), random(1, 4, 3)], ["sample 1", "1x4x3", "1x3x4"]),
        ({"x": np.zeros((5, 3, 4), np.uint8)}, ["'x'", "uint8", "float32"]),
        ({"x": np.full((2, 3, 4), np.nan, np.float32)}, ["sample 0", "'x'", "12 elements", "NaN"]),
        ([{"x": np.full((3, 4), 1e300)}], ["infinite in float32"]),
        ([{"x": np.array([["a"]])}], ["'x'"]),
    ],
)
def test_unusable_data_is_refused(source: Any, words: list[str]) -> None:
    with pytest.raises(DataError) as caught:
        load(source, [X])
    for word in words:
        assert word in str(caught.value)


def test_different_numbers_of_samples() -> None:
    with pytest.raises(DataError, match=r"'ids' 3, 'mask' 2"):
        load({"ids": np.ones((3, 5), np.int64), "mask": random(2, 5)}, PAIR)


def test_one_array_for_two_inputs() -> None:
    with pytest.raises(DataError, match="one array for a model with the inputs ids, mask"):
        load(random(1, 5), PAIR)


def test_integers_that_do_not_fit() -> None:
    with pytest.raises(DataError, match=r"int64 .* takes int8"):
        load(np.full((2, 3), 300), [Input("i", "int8", (1, 3))])


def test_different_batches_in_one_sample() -> None:
    inputs = [Input("a", "float32", (2, 3)), Input("b", "float32", (4, 3))]
    with pytest.raises(DataError, match="batch"):
        load({"a": random(8, 3), "b": random(8, 3)}, inputs)


def test_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent\.npz: there is no such file"):
        load(tmp_path / "absent.npz", [X])
    with pytest.raises(DataError, match="no calibration sample"):
        load(tmp_path, [X])
    np.save(tmp_path / "good.npy", random(3, 4))
    (tmp_path / "damaged.npz").write_bytes(b"PK\x03\x04 damaged")
    (tmp_path / "text.npy").write_text("text")
    np.save(tmp_path / "objects.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(DataError) as caught:
        load(tmp_path, [X])
    for name in ("damaged.npz", "text.npy", "objects.npy"):
        assert name in str(caught.value)
    assert "good.npy" not in str(caught.value)
