"""A call of an NNA's command stream as a PrimFunc: opaque to every pass, resolved by the target's code generator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tvm import te, tirx

from tilewright.targets.streams import PAYLOAD, SCRATCH

Operand = tuple[tuple[int, ...], str]
"""Shape and type of a tensor."""


def stream_call(
    inputs: Sequence[Operand], outputs: Sequence[Operand], payload: bytes, workspaces: Sequence[int]
) -> Any:
    """The PrimFunc of a stream.

    Args:
        inputs: shape and type of the weights (region 0 of the stream), then of its inputs (behind the workspaces).
        outputs: likewise, of the regions after them.
        payload: what the device's driver is handed.
        workspaces: sizes of the regions from 1 on, in bytes.
    """
    reads = [te.placeholder(_extents(shape), dtype, f"in{place}") for place, (shape, dtype) in enumerate(inputs)]
    # A body that passes can read, and that nobody runs: reductions, which no pass rewrites.
    writes = [_sum(reads[0], shape, dtype, f"out{place}") for place, (shape, dtype) in enumerate(outputs)]
    function = te.create_prim_func([*reads, *writes]).without_attr("global_symbol")
    return function.with_attr(PAYLOAD, payload.hex()).with_attr(SCRATCH, list(workspaces))


def _sum(tensor: Any, shape: tuple[int, ...], dtype: str, name: str) -> Any:
    axis = te.reduce_axis((0, tensor.shape[0]), f"{name}_axis")
    return te.compute(_extents(shape), lambda *_: te.sum(tensor(axis).astype(dtype), axis=axis), name=name)


def _extents(shape: tuple[int, ...]) -> list[Any]:
    return [tirx.IntImm("int64", size) for size in shape]
