"""A target is one module and one TOML file: a toy family, made here, compiles and runs."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import tvm

import tilewright
from tests.models import small_cnn
from tests.targets.gpu import floats, needs_opencl
from tests.targets.running import expected
from tilewright import targets
from tilewright.errors import UsageError
from tilewright.plan import Image, Module
from tilewright.runtime import Session
from tilewright.targets.base import Code, KernelCall, KernelCode, Target
from tilewright.targets.gpu import generate
from tilewright.targets.schedules.gpu_common import GpuLimits
from tilewright.targets.schedules.gpu_rules import schedule


class Toy(Target):
    family = "toy"
    backend = "opencl"
    description = "plain OpenCL, as TVM writes it"
    tvm_target = tvm.target.Target({"kind": "opencl"}, host="llvm")

    def schedule(self, mod: Any) -> Any:
        return schedule(mod, self.tvm_target, GpuLimits(**self.device.facts))

    def codegen(self, kernels: Mapping[str, Any]) -> Code:
        made = generate(kernels, self.tvm_target)
        calls = {
            n: tuple(KernelCall(c.entry, 0, c.args, c.grid, c.block) for c in f.calls)
            for n, f in made.functions.items()
        }
        text = "\n".join(f"__kernel void {k.name}({', '.join(k.params)}) {{\n{k.body}}}" for k in made.kernels)
        code = {name: KernelCode(calls[name], function.workspaces) for name, function in made.functions.items()}
        return Code(code, (Module("toy", (Image("opencl", "", (), "", text.encode()),)),))


@pytest.fixture
def toy_board(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """Installs the family as a user would: a module of its name, and a device file."""
    module = ModuleType("tilewright.targets.toy")
    monkeypatch.setattr(Toy, "__module__", module.__name__)
    module.Toy = Toy  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    (tmp_path / "toy-board.toml").write_text("threads = 64\ngroup = 32\nlocal_bytes = 1024\naccumulators = 8\n")
    monkeypatch.setattr(targets, "_DEVICES", tmp_path)
    return "toy-board"


def test_a_family_is_one_class_and_one_device_file(toy_board: str) -> None:
    target = targets.resolve(toy_board)
    assert (target.family, target.device.name, target.device.facts["group"]) == ("toy", "toy-board", 32)
    assert targets.families() == ["toy"]


def test_a_new_target_compiles_and_runs_a_network(toy_board: str) -> None:
    needs_opencl()
    model, feeds = small_cnn(), {"x": floats(1, 3, 16, 16)}
    artifact = tilewright.compile(model, target=toy_board)
    assert all(launch.block[0] <= 64 for launch in artifact.plan.launches)
    with Session(artifact.to_bytes()) as session:
        got = session.run(feeds)["y"]
    # float32 sums in another order than onnxruntime's
    np.testing.assert_allclose(got, expected(model, feeds)["y"], rtol=1e-4, atol=1e-6)


def test_a_name_may_set_keys_of_the_device_otherwise() -> None:
    changed = targets.resolve("mali-g78:work_group_size=32,weight_images=65536").device
    assert changed.name == "mali-g78"
    assert (changed.facts["work_group_size"], changed.facts["weight_images"]) == (32, 65536)
    assert {**changed.facts, "work_group_size": 64, "weight_images": 0} == targets.device_facts("mali-g78")


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("mali:images=1", "no key 'images'; there are: .*weight_images"),
        ("mali:weight_images=yes", "write KEY=VALUE"),
        ("mali:weight_images", "write KEY=VALUE"),
        ("mali:weight_images=1.5", "weight_images is 0 there: give another of that type"),
    ],
)
def test_wrong_settings_in_a_name_say_what_would_be_right(name: str, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        targets.resolve(name)
