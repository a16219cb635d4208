"""Bytes of float activations by a tensor's own range, as one kernel of one work-group.

Work-items take every n-th element, find the range together through local memory, and quantize what they have read. For
activations of a product at small batches; a tensor of more elements keeps a whole GPU busy with one kernel a stage.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from tvm import tirx

from tilewright.targets.schedules.gpu_common import GpuLimits, require
from tilewright.targets.schedules.gpu_ir import bound, guarded, launch
from tilewright.targets.schedules.ir import i64, i64s, loop, sequence
from tilewright.targets.static import DYNAMIC_QUANTIZE, TEMPLATE

_MOST = 1 << 15  # elements
_ENDS = {"low": tirx.min, "high": tirx.max}


def schedule(func: Any, limits: GpuLimits) -> Any:
    """The PrimFunc of lower/dynamic_quantize.py as one kernel.

    Raises:
        NotApplicable: it is something else, or of too many elements.
    """
    template = json.loads(str(func.attrs[TEMPLATE])) if func.attrs and TEMPLATE in func.attrs else {}
    require(template.get("kernel") == DYNAMIC_QUANTIZE, "no quantization by a range")
    x, result, scale, zero = func.params
    size = math.prod(int(extent) for extent in x.shape)
    require(0 < size <= _MOST, "too many elements for one work-group")
    items = min(limits.threads, 1 << (size - 1).bit_length())
    body = _Kernel(x, result, scale, zero, size, items).kernel()
    return tirx.PrimFunc(func.params, body, func.ret_type, attrs=func.attrs)


class _Kernel:
    def __init__(self, x: Any, result: Any, scale: Any, zero: Any, size: int, items: int) -> None:
        self.x, self.result, self.scale, self.zero = x, result, scale, zero
        self.size, self.items = size, items

    def kernel(self) -> Any:
        return launch([("blockIdx.x", 1), ("threadIdx.x", self.items)], self._item)

    def _item(self, _: Any, item: Any) -> Any:
        # Two buffers for two ends: barriers are put between statements that may meet in one.
        own = [tirx.decl_buffer(i64s(1), "float32", name=f"own_{end}", scope="local") for end in _ENDS]
        ends = [tirx.decl_buffer(i64s(self.items), "float32", name=end, scope="shared") for end in _ENDS]
        statements = [tirx.AllocBuffer(buffer) for buffer in (*own, *ends)]
        statements += [tirx.BufferStore(buffer, _f32(0), i64s(0)) for buffer in own]  # zero is always in the range
        statements.append(self._every(item, lambda at: _fold(own, i64(0), [self._load(at)] * 2)))
        statements += [
            tirx.BufferStore(to, tirx.BufferLoad(buffer, i64s(0)), [item]) for buffer, to in zip(own, ends, strict=True)
        ]
        half = self.items // 2
        while half:
            others = [tirx.BufferLoad(buffer, [item + half]) for buffer in ends]
            statements.append(guarded([item < half], _fold(ends, item, others)))
            half //= 2
        least, first = bound("float32", "least", tirx.BufferLoad(ends[0], i64s(0)))
        most, second = bound("float32", "most", tirx.BufferLoad(ends[1], i64s(0)))
        span = most - least
        s, third = bound("float32", "s", tirx.Select(span > _f32(0), span / _f32(255), _f32(1)))
        z, fourth = bound("float32", "z", _clamped(tirx.round(-least / s)))
        statements += [first, second, third, fourth]
        results = [tirx.BufferStore(self.scale, s, []), tirx.BufferStore(self.zero, _byte(z), [])]
        statements.append(guarded([item < 1], sequence(results)))

        def quantize(at: Any) -> Any:
            value = _byte(_clamped(tirx.round(self._load(at) / s) + z))
            return tirx.BufferStore(self.result, value, self._place(at))

        return sequence([*statements, self._every(item, quantize)])

    def _every(self, item: Any, body: Any) -> Any:
        """``body`` of every element that is this work-item's."""

        def step(number: Any) -> Any:
            at = number * self.items + item
            return guarded([at < self.size] if self.size % self.items else [], body(at))

        return loop(-(-self.size // self.items), step, name="step")

    def _load(self, at: Any) -> Any:
        return tirx.BufferLoad(self.x, self._place(at))

    def _place(self, at: Any) -> list[Any]:
        return [*[i64(0)] * (len(self.x.shape) - 1), at]  # flat places, counted along the last axis


def _fold(buffers: Sequence[Any], at: Any, values: Sequence[Any]) -> Any:
    """Widens the range in two buffers by values for either end."""
    folds = zip(buffers, _ENDS.values(), values, strict=True)
    return sequence(
        [tirx.BufferStore(b, function(tirx.BufferLoad(b, [at]), value), [at]) for b, function, value in folds]
    )


def _clamped(value: Any) -> Any:
    return tirx.max(tirx.min(value, _f32(255)), _f32(0))


def _byte(value: Any) -> Any:
    return value.astype("int32").astype("uint8")


def _f32(value: float) -> Any:
    return tirx.const(float(value), "float32")
