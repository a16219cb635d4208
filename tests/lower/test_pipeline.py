"""The whole lowering on a toy target: the Plan's structure, as golden text and as invariants."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import Golden
from tilewright.errors import TilewrightError
from tilewright.lower.pipeline import lower
from tilewright.plan import COPY, BufferKind, Plan
from tilewright.targets.base import Target

INPUTS = ("images:0",)
OUTPUTS = ("flat", "probabilities", "same", "again")


@pytest.fixture
def plan(convolutions: Any, toy_target: Target) -> Plan:
    return lower(convolutions, toy_target, INPUTS, OUTPUTS)


def test_plan_text(plan: Plan, golden: Golden) -> None:
    golden("pipeline.plan.txt", plan.text())


def test_outputs_have_the_models_names_and_shapes(plan: Plan) -> None:
    outputs = [plan.buffers[index] for index in plan.outputs]
    assert [buffer.name for buffer in outputs] == list(OUTPUTS)
    assert [buffer.shape for buffer in outputs] == [(1, 2048), (1, 8, 16, 16), (1, 3, 16, 16), (1, 2048)]
    assert all(buffer.kind is BufferKind.OUTPUT for buffer in outputs)


def test_inputs_have_the_models_names(plan: Plan) -> None:
    assert [plan.buffers[index].name for index in plan.inputs] == ["images:0"]


def test_inputs_and_repeated_outputs_are_copied(plan: Plan) -> None:
    copies = [launch for launch in plan.launches if launch.module == COPY]
    assert [plan.buffers[launch.args[1]].name for launch in copies] == ["same", "again"]


def test_launches_know_their_layers_and_equal_layers_share_a_kernel(plan: Plan) -> None:
    by_layer = {launch.layers: launch.kernel for launch in plan.launches if launch.layers}
    assert list(by_layer) == [("/conv.1/Conv", "relu 1"), ("conv2",), ("conv3", "relu3"), ("softmax",)]
    assert by_layer["/conv.1/Conv", "relu 1"] == by_layer["conv3", "relu3"]


def test_every_buffer_is_used_and_arena_buffers_fit(plan: Plan) -> None:
    used = {arg for launch in plan.launches for arg in launch.args} | {*plan.inputs, *plan.outputs}
    assert used == set(range(len(plan.buffers)))
    for buffer in plan.buffers:
        if buffer.kind is BufferKind.ARENA:
            assert buffer.offset + buffer.nbytes <= plan.arena_bytes
        assert (buffer.data is not None) == (buffer.kind is BufferKind.CONSTANT)


def test_phases_are_observed_in_order(convolutions: Any, toy_target: Target) -> None:
    seen: list[tuple[str, str]] = []
    lower(convolutions, toy_target, INPUTS, OUTPUTS, lambda phase, text: seen.append((phase, text())))
    assert [phase for phase, _ in seen] == ["prepare", "fuse", "schedule", "codegen", "plan"]
    assert "conv2d" in seen[0][1]
    assert seen[-1][1].startswith("plan toy")


def test_a_failing_pass_is_named(convolutions: Any, toy_target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(mod: Any, packed: Any) -> Any:
        raise ValueError("inside\nno such layout")

    monkeypatch.setattr(toy_target, "prepare", broken)
    with pytest.raises(TilewrightError, match=r"prepare.*no such layout"):
        lower(convolutions, toy_target, INPUTS, OUTPUTS)
