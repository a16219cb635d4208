"""The choice of a GPU schedule."""

from __future__ import annotations

from typing import Any

import pytest
import tvm
from tvm import te, tirx

from tilewright.errors import UnsupportedError
from tilewright.targets import resolve
from tilewright.targets.schedules import gpu_rules
from tilewright.targets.schedules.gpu_common import GpuLimits, NotApplicable


def product() -> Any:
    a = te.placeholder((8, 16), name="a")
    b = te.placeholder((16, 12), name="b")
    k = te.reduce_axis((0, 16), name="k")
    c = te.compute((8, 12), lambda i, j: te.sum(a[i, k] * b[k, j], axis=k), name="c")
    return te.create_prim_func([a, b, c])


def copy() -> Any:
    a = te.placeholder((7,), name="a")
    return te.create_prim_func([a, te.compute((7,), lambda i: a[i], name="b")])


def test_the_first_rule_that_fits_is_taken() -> None:
    target: Any = resolve("mali-g52")
    module = gpu_rules.schedule(tvm.IRModule({"product": product(), "copy": copy()}), target.tvm_target, target.limits)
    assert {var.name_hint: str(func.attrs["tilewright.rule"]) for var, func in module.functions.items()} == {
        "product": "tile",
        "copy": "stages",
    }


def test_functions_that_no_rule_takes_are_listed_together(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(func: Any, limits: GpuLimits) -> Any:
        raise NotApplicable("out of luck")

    monkeypatch.setattr(gpu_rules, "RULES", (("only", refuse),))
    target: Any = resolve("mali-g52")
    module = tvm.IRModule({"product": product(), "copy": copy()})
    with pytest.raises(UnsupportedError) as error:
        gpu_rules.schedule(module, target.tvm_target, target.limits)
    assert {problem.where for problem in error.value.problems} == {"product", "copy"}
    assert "only: out of luck" in str(error.value)


def test_a_group_that_is_too_large_is_refused() -> None:
    target: Any = resolve("mali-g52")
    tight = GpuLimits(threads=4, group=64, local_bytes=1024, accumulators=16)
    with pytest.raises(NotApplicable, match="the limit is 4"):
        gpu_rules.schedule_one(product(), target.tvm_target, tight)


def test_local_memory_is_counted() -> None:
    a = te.placeholder((4096,), name="a")
    k = te.reduce_axis((0, 4096), name="k")
    func = te.create_prim_func([a, te.compute((1,), lambda i: te.sum(a[k], axis=k), name="b")])
    target: Any = resolve("mali-g52")
    enough = GpuLimits(threads=256, group=64, local_bytes=256, accumulators=16)
    assert str(gpu_rules.schedule_one(func, target.tvm_target, enough).attrs["tilewright.rule"]) == "stages"
    none = GpuLimits(threads=256, group=64, local_bytes=0, accumulators=16)
    assert str(gpu_rules.schedule_one(func, target.tvm_target, none).attrs["tilewright.rule"]) == "serial"
    assert isinstance(func, tirx.PrimFunc)
