"""Element decoders: what one weight is, said once for NumPy, for ONNX and for kernels.

A codec's method ``decoder`` and a layout's ``placer`` return a function of (row, column) in terms of ``Ops`` and of
arrays. The same function is evaluated on NumPy arrays (``decode`` here, which tests hold to the reference), on ONNX
values (the body of an unpacking node) and on TIR expressions (kernels).

Extents (``shape``, ``payload``) are ints, or scalar values where one ONNX function serves weights of every shape.
Arrays are flat, whatever their shape in the format. A load widens: integers to int32, floats to float32. Rows, columns
and everything made of them are int32. ``+ - * < >`` mean what they say, and on numbers that are not negative so do
``//`` and ``%``; ``.astype("float32")`` converts. Everything else is in ``Ops``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from tilewright.formats.base import Arrays, Matrix
    from tilewright.formats.registry import Format

Value = Any  # int32 or float32: a NumPy array, an ONNX value or a TIR expression
Loads = Mapping[str, Any]  # flat arrays by role: ``loads["scales"][i]`` is a Value
Element = Callable[[Value, Value], Value]
Extents = tuple[Value, Value]  # rows and columns

Array = npt.NDArray[Any]


class Ops(Protocol):
    """What a decoder needs beyond arithmetic."""

    def table(self, values: npt.ArrayLike) -> Any:
        """A constant lookup table, int32 or float32 [n], to be indexed."""
        ...

    def where(self, condition: Value, yes: Value, no: Value) -> Value:
        """``yes`` where the comparison holds, else ``no``; only the chosen one's loads need be in bounds."""
        ...

    def shift_right(self, value: Value, count: Value) -> Value:
        """``value >> count`` for a ``value`` that is not negative and a ``count`` of 0 to 31, which may be a number."""
        ...

    def share(self, value: Value) -> Value:
        """A value that an element needs several times, computed once; and always, so that its loads are in bounds."""
        ...

    def compute(self, shape: Extents, element: Element, dtype: str, needed: Element | None = None) -> Any:
        """Evaluates a function everywhere and keeps the result, to be indexed by ``[row, column]``.

        Args:
            dtype: int32 or float32; uint8 or uint16 of integers that it can hold, which loads widen.
            needed: a comparison; integers where it does not hold are 0, and kernels do not compute them.
        """
        ...

    def exclusive_sum(self, values: Any, count: Value) -> Any:
        """Sums of all earlier elements of an integer array of ``count``, int32, to be indexed."""
        ...

    def positions(self, index: Any, shape: Extents, columns: Value) -> Any:
        """Inverts an index array of ``shape`` [rows, k] that holds k different numbers below ``columns`` in each row.

        Returns:
            int32 [rows, columns], to be indexed by ``[row, column]``: 1 + place of the column in the row, 0 if absent.
        """
        ...


class Decodes(Protocol):
    """A codec that kernels can read."""

    def decoder(self, ops: Ops, loads: Loads, shape: Extents) -> Element:
        """The function of (row, column) for a payload of ``shape``; equals ``decode`` bit for bit."""
        ...


class Places(Protocol):
    """A layout that kernels can read."""

    def payload_shape(self, shape: tuple[int, int], index: Mapping[str, tuple[int, ...]]) -> tuple[int, int]:
        """The payload's shape for a matrix of ``shape``, from the shapes of the index arrays."""
        ...

    def placer(self, ops: Ops, loads: Loads, shape: Extents, payload: Extents, inner: Element) -> Element:
        """The function of (row, column) of the matrix; ``inner`` is the payload's."""
        ...


def decoder(ops: Ops, form: Format, loads: Loads, shape: Extents, payload: Extents) -> Element:
    """The element decoder of a whole format: layout over codec.

    Args:
        loads: the arrays of layout and codec.
        shape: rows and columns of the matrix.
        payload: rows and columns of what the layout keeps.

    """
    codec: Decodes = form.codec  # type: ignore[assignment]
    layout: Places = form.layout  # type: ignore[assignment]
    return layout.placer(ops, loads, shape, payload, codec.decoder(ops, loads, payload))


def ceildiv(extent: Value, divisor: int) -> Value:
    """How many steps of ``divisor`` cover an extent."""
    return (extent + (divisor - 1)) // divisor


def narrowed(values: npt.ArrayLike) -> Array:
    """A table in the narrowest type that loads widen to its own: float32, or uint8, uint16 or int32."""
    array = np.asarray(values)
    if array.dtype.kind == "f":
        return array.astype(np.float32)
    least, most = array.min(initial=0), array.max(initial=0)
    return array.astype(np.int32 if least < 0 or most >= 1 << 16 else np.uint8 if most < 1 << 8 else np.uint16)


def symbol(ops: Ops, stream: Any, number: Value, bits: int) -> Value:
    """Symbol ``number`` of a bit stream (see bits.py) of ``bits``-bit symbols, 1 to 8; as an unsigned number.

    Args:
        number: a number is one that is known beforehand.
    """
    if bits == 8:
        return stream[number]
    at = number % 8 * bits
    byte, shift = number // 8 * bits + at // 8, at % 8
    word = stream[byte]
    if 8 % bits:  # symbols straddle bytes; one that does not must not read beyond the last byte
        straddles = 8 - bits < shift
        if not isinstance(straddles, bool):
            word = word + ops.where(straddles, stream[ops.where(straddles, byte + 1, byte)], 0) * 256
        elif straddles:
            word = word + stream[byte + 1] * 256
    return ops.shift_right(word, shift) % 2**bits


def equal(ops: Ops, left: Value, right: Value) -> Value:
    """1 where two integers are equal, else 0."""
    return ops.where(left < right, 0, ops.where(right < left, 0, 1))


class NumpyOps:
    """Evaluates decoders on whole NumPy arrays."""

    def table(self, values: npt.ArrayLike) -> Any:
        return _Array(np.asarray(values).ravel())

    def where(self, condition: Value, yes: Value, no: Value) -> Value:
        return np.where(condition, yes, no)

    def shift_right(self, value: Value, count: Value) -> Value:
        return value >> count

    def share(self, value: Value) -> Value:
        return value

    def compute(self, shape: tuple[int, int], element: Element, dtype: str, needed: Element | None = None) -> Any:
        at = np.arange(shape[0], dtype=np.int32)[:, None], np.arange(shape[1], dtype=np.int32)[None, :]
        values = element(*at) if needed is None else self.where(needed(*at), element(*at), 0)
        return _Array(np.broadcast_to(values, shape).astype(dtype))

    def exclusive_sum(self, values: Any, count: int) -> Any:
        sums = np.cumsum(values[np.arange(count)])
        return np.concatenate([[0], sums[:-1]]).astype(np.int32)

    def positions(self, index: Any, shape: tuple[int, int], columns: int) -> Any:
        rows, k = shape
        found = np.zeros((rows, columns), np.int32)
        places = np.broadcast_to(np.arange(1, k + 1, dtype=np.int32), shape)
        np.put_along_axis(found, index[np.arange(rows * k)].reshape(shape), places, axis=1)
        return found


class _Array:
    """An array whose loads widen."""

    def __init__(self, array: Array) -> None:
        self.array = array
        self.dtype = np.float32 if array.dtype.kind == "f" else np.int32

    def __getitem__(self, index: Any) -> Value:
        return self.array[index].astype(self.dtype, copy=False)


def decode(form: Format, arrays: Arrays, shape: tuple[int, int], payload: tuple[int, int]) -> Matrix:
    """The matrix, by the element decoder: what ONNX bodies and kernels compute."""
    ops = NumpyOps()
    element = decoder(ops, form, {role: _Array(array.ravel()) for role, array in arrays.items()}, shape, payload)
    return np.ascontiguousarray(ops.compute(shape, element, "float32").array)
