"""Calibration data: samples of what a model will see, from a file, a folder or memory, as feeds of its static shape.

A feed maps every input to an array of exactly the model's shape. Sources:

    data.npz           input name -> array whose first axis counts samples
    folder             .npz or .npy files in the order of their names, one sample each
    dict of arrays     as data.npz;  one array: the same for a model with one input
    iterable           dicts (or arrays, for a model with one input), one sample each

For an input of shape [N, ...] a sample is [1, ...], [...], or a whole [N, ...]. Samples of one are grouped by N; the
last group is filled up with the first samples. In an .npz a leading axis in front of [N, ...] counts whole samples, and
an array of exactly the model's shape is one sample, repeated in every feed where other inputs have more.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from tilewright.errors import DataError
from tilewright.numeric import TensorSpec

Array: TypeAlias = npt.NDArray[Any]
Feed: TypeAlias = dict[str, Array]
Source: TypeAlias = str | os.PathLike[str] | Array | Mapping[str, Array] | Iterable[Mapping[str, Array] | Array]


@dataclass(frozen=True)
class Input:
    """An input of a model: NumPy's name of its element type, and its static shape."""

    name: str
    dtype: str
    shape: tuple[int, ...]


def inputs_of(model: ir.Model) -> list[Input]:
    """The inputs of a normalised model."""
    found = []
    for value in model.graph.inputs:
        assert value.dtype is not None
        assert value.shape is not None
        found.append(Input(value.name or "", value.dtype.numpy().name, tuple(value.shape.numpy())))
    return found


_LISTED = 8  # complaints in one message


@dataclass(frozen=True)
class _Item:
    """One sample: where it comes from, for messages, and how to read it."""

    where: str
    read: Callable[[], Mapping[str, Array]]


class Calibration(Sequence[Feed]):
    """Checked calibration data; samples of a folder are read anew at every pass over them, never held together.

    Attributes:
        samples: how many samples the source has; ``len`` counts feeds, which hold ``batch`` samples each.
        batch: samples in a feed.
    """

    def __init__(self, items: Sequence[_Item], inputs: Sequence[TensorSpec], batch: int) -> None:
        self._items = items
        self._inputs = inputs
        self.samples = len(items)
        self.batch = batch

    def __len__(self) -> int:
        return -(-self.samples // self.batch)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        first = index % len(self) * self.batch
        group = [self._items[(first + offset) % self.samples].read() for offset in range(self.batch)]
        return {tensor.name: _assemble([sample[tensor.name] for sample in group], tensor) for tensor in self._inputs}

    def evenly(self, samples: int) -> list[Feed]:
        """Feeds at equal distances, of about so many samples in all: at least one, and at most all there are."""
        count = min(len(self), max(1, samples // self.batch))
        return [self[at * len(self) // count] for at in range(count)]


def load(source: Source, inputs: Sequence[TensorSpec]) -> Calibration:
    """Reads and checks calibration data.

    Args:
        source: see above. A generator is exhausted into memory.
        inputs: the model's inputs with static shapes.

    Returns:
        Feeds that can be gone through any number of times.

    Raises:
        DataError: no sample, an unreadable file, an input missing or unknown, a wrong shape or element type, NaN or
            infinity; names file, input, shape and type, and lists what is wrong in every file.
    """
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        items = _folder(path, inputs) if path.is_dir() else _split(_read(path, inputs), inputs, str(path))
    elif isinstance(source, np.ndarray | Mapping):
        items = _split(_named(source, inputs, "calibration data"), inputs, "calibration data")
    else:
        items = [_in_memory(sample, inputs, f"sample {index}") for index, sample in enumerate(source)]
    if not items:
        raise DataError(f"{_title(source)}: there is no calibration sample in it")
    return Calibration(items, inputs, _check(items, inputs))


def _title(source: Source) -> str:
    return str(source) if isinstance(source, str | os.PathLike) else "calibration data"


def _in_memory(sample: Mapping[str, Array] | Array, inputs: Sequence[TensorSpec], where: str) -> _Item:
    arrays = _named(sample, inputs, where)
    return _Item(where, lambda: arrays)


def _folder(path: Path, inputs: Sequence[TensorSpec]) -> list[_Item]:
    files = sorted(file for file in path.iterdir() if file.suffix in (".npz", ".npy"))
    return [_Item(str(file), _reader(file, inputs)) for file in files]


def _reader(file: Path, inputs: Sequence[TensorSpec]) -> Callable[[], Mapping[str, Array]]:
    return lambda: _read(file, inputs)


def _read(path: Path, inputs: Sequence[TensorSpec]) -> Mapping[str, Array]:
    try:
        with path.open("rb") as stream:
            loaded = np.load(stream, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                return _named(loaded, inputs, str(path))
            with loaded as archive:
                return {name: archive[name] for name in archive.files}
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file or folder") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (ValueError, EOFError, zipfile.BadZipFile):  # NumPy's own text advises to run what pickles say
        raise DataError(f"{path}: not an .npz or .npy file of plain arrays, or a damaged one") from None


def _named(data: Mapping[str, Array] | Array, inputs: Sequence[TensorSpec], where: str) -> Mapping[str, Array]:
    if isinstance(data, Mapping):
        return {name: np.asarray(value) for name, value in data.items()}
    if len(inputs) != 1:
        names = ", ".join(tensor.name for tensor in inputs)
        raise DataError(f"{where}: one array for a model with the inputs {names}; give arrays by name (.npz or a dict)")
    return {inputs[0].name: np.asarray(data)}


def _split(arrays: Mapping[str, Array], inputs: Sequence[TensorSpec], where: str) -> list[_Item]:
    """The samples along the first axes."""
    _refuse([f"{where}: {problem}" for problem in _wrong_names(arrays, inputs)])
    shapes = {tensor.name: tuple(tensor.shape) for tensor in inputs}
    constant = {name: array for name, array in arrays.items() if array.shape == shapes[name]}
    counts = {name: array.shape[0] if array.ndim else 0 for name, array in arrays.items() if name not in constant}
    wrong = [
        f"{where}: input '{tensor.name}' has shape {_text(arrays[tensor.name].shape)}; the model takes "
        f"{_text(tensor.shape)}, with samples counted along the first axis or an axis in front of it"
        for tensor in inputs
        if tensor.name in counts and arrays[tensor.name].shape[1:] not in (shapes[tensor.name], shapes[tensor.name][1:])
    ]
    _refuse(wrong)
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"'{name}' {count}" for name, count in counts.items())
        raise DataError(f"{where}: inputs have different numbers of samples: {listed}")

    def sample(index: int) -> _Item:
        return _Item(
            f"{where}, sample {index}",
            lambda: {**constant, **{name: _row(arrays[name], shapes[name], index) for name in counts}},
        )

    return [sample(index) for index in range(next(iter(counts.values()), 1))]


def _row(array: Array, shape: tuple[int, ...], index: int) -> Array:
    """Sample ``index``: a whole array of the model's shape, or one of its batch."""
    whole: Array = array[index]
    return whole if array.shape[1:] == shape else array[index : index + 1]


def _check(items: Sequence[_Item], inputs: Sequence[TensorSpec]) -> int:
    """Reads everything once; the number of samples in a feed."""
    problems: list[str] = []
    batches: dict[int, str] = {}
    for item in items:
        try:
            arrays = item.read()
        except DataError as error:
            problems.append(str(error))
            continue
        found = _wrong_names(arrays, inputs)
        for tensor in inputs:
            if tensor.name in arrays:
                found += _wrong_array(arrays[tensor.name], tensor)
        problems += [f"{item.where}: {problem}" for problem in found]
        if not found:
            sizes = {int(tensor.shape[0]) for tensor in inputs if not _whole(arrays[tensor.name], tensor)}
            if len(sizes) > 1:
                problems.append(f"{item.where}: inputs of batch {sorted(sizes)} in one sample; give whole inputs")
            batches.setdefault(max(sizes, default=1), item.where)
        if len(problems) > _LISTED:
            break
    _refuse(problems)
    if len(batches) > 1:
        listed = ", ".join(f"{where} is 1 of {batch}" for batch, where in batches.items())
        raise DataError(f"calibration samples have different sizes: {listed} of the model's batch; give them alike")
    return next(iter(batches), 1)


def _whole(array: Array, tensor: TensorSpec) -> bool:
    return array.shape == tuple(tensor.shape)


def _refuse(problems: Sequence[str]) -> None:
    if problems:
        more = [f"... and {len(problems) - _LISTED} or more others"] if len(problems) > _LISTED else []
        raise DataError("\n  - ".join(["calibration data cannot be used", *problems[:_LISTED], *more]))


def _wrong_names(arrays: Mapping[str, Array], inputs: Sequence[TensorSpec]) -> list[str]:
    names = [tensor.name for tensor in inputs]
    problems = [
        f"there is no input '{name}'; the model's inputs are {', '.join(names)}" for name in arrays if name not in names
    ]
    missing = [name for name in names if name not in arrays]
    return problems + [f"input '{name}' is missing; there are {', '.join(arrays) or 'none'}" for name in missing]


def _wrong_array(array: Array, tensor: TensorSpec) -> list[str]:
    want = np.dtype(tensor.dtype)
    label = f"input '{tensor.name}' is {array.dtype} {_text(array.shape)}"
    shape = tuple(tensor.shape)
    if array.shape not in (shape, shape[1:], (1, *shape[1:])) or (not shape and array.shape):
        return [f"{label}; a sample of the model's {want} {_text(shape)} was expected"]
    if array.dtype != want and not _converts(array, want):
        return [f"{label}; the model takes {want}: convert it the way the application will"]
    if array.dtype.kind == "f":
        with np.errstate(over="ignore"):
            bad = np.count_nonzero(~np.isfinite(array.astype(want)))
        if bad:
            return [f"{label} with {bad} elements that are NaN or infinite in {want}"]
    return []


def _converts(array: Array, want: np.dtype[Any]) -> bool:
    """Other widths of the same kind are taken, if every value fits. Integers for floats are not: 0...255 is rarely
    what a model was trained on, so that preprocessing must be explicit."""
    if array.dtype.kind == "f" and want.kind == "f":
        return True
    if array.dtype.kind in "iu" and want.kind in "iu":
        limits = np.iinfo(want)
        return not array.size or (int(array.min()) >= limits.min and int(array.max()) <= limits.max)
    return False


def _assemble(parts: Sequence[Array], tensor: TensorSpec) -> Array:
    shape = tuple(tensor.shape)
    array = parts[0] if _whole(parts[0], tensor) else np.concatenate([part.reshape(1, *shape[1:]) for part in parts])
    return np.ascontiguousarray(array, np.dtype(tensor.dtype)).reshape(shape)


def _text(shape: Iterable[int]) -> str:
    return "x".join(map(str, shape)) or "scalar"
