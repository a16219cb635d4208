"""ONNX's own operator tests. By default one a operator; TILEWRIGHT_CONFORMANCE=full runs all of them (some minutes)."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import pytest

from benchmarks import conformance
from benchmarks.conformance import Case, Outcome

FULL = os.environ.get("TILEWRIGHT_CONFORMANCE") == "full"
# Operators whose every plain test is refused, with the reason; the rest must pass.
REFUSED = {
    "NonZero": "depends on data",
}


@cache
def _cases() -> list[Case]:
    return conformance.collect()


def _first_of_each_operator() -> list[Case]:
    first: dict[str, Case] = {}
    for case in _cases():
        if case.group in conformance.BARS and case.opset in conformance.OPSETS:
            first.setdefault(case.operator, case)
    return list(first.values())


@pytest.mark.skipif(FULL, reason="the full run covers it")
def test_one_test_of_each_operator_passes() -> None:
    cases = _first_of_each_operator()
    assert len(cases) > 120
    failed = []
    for outcome in conformance.run_all(cases):
        reason = REFUSED.get(outcome.operator)
        expected = outcome.status == "refused" and reason in outcome.detail if reason else outcome.status == "passed"
        if not expected:
            failed.append(outcome)
    assert not failed


@pytest.mark.skipif(not FULL, reason="set TILEWRIGHT_CONFORMANCE=full to run all of ONNX's tests")
def test_all_bars_are_met_and_nothing_is_wrong() -> None:
    outcomes = list(conformance.run_all(_cases(), jobs=os.cpu_count() or 1))
    assert len(outcomes) == len(_cases())
    assert not conformance.missed(outcomes), conformance.table(outcomes)


def test_parameters_are_bound_and_data_is_not() -> None:
    (case,) = (case for case in _cases() if case.name == "test_reshape_reordered_all_dims")
    assert [value.name for value in case.model.graph.input] == ["data"]
    assert [value.name for value in case.model.graph.initializer] == ["shape"]
    assert list(case.data[0][0]) == ["data"]


def _case(name: str) -> Case:
    (case,) = (case for case in _cases() if case.name == name)
    return case


def test_a_deviation_is_called_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    case = _case("test_relu")

    def execute(case: Case, feed: Mapping[str, Any], target: str) -> list[Any]:
        return [np.maximum(feed["x"], 0) * np.float32(1.01)]

    monkeypatch.setattr(conformance, "_execute", execute)
    assert conformance.run_case(case).status == "wrong"


def test_foreign_exceptions_crashes_and_hangs_are_called_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["test_relu", "test_abs", "test_exp", "test_neg"]

    def execute(case: Case, feed: Mapping[str, Any], target: str) -> list[Any]:
        if case.name == "test_relu":
            raise RuntimeError("inside")
        if case.name == "test_abs":
            os._exit(3)
        if case.name == "test_exp":
            time.sleep(60)
        return [-feed["x"]]

    monkeypatch.setattr(conformance, "_execute", execute)
    monkeypatch.setattr(conformance, "TIME_LIMIT", 1.5)
    outcomes = {o.name: o for o in conformance.run_all([_case(name) for name in names])}
    assert [outcomes[name].status for name in names] == ["broken", "broken", "broken", "passed"]
    assert "RuntimeError: inside" in outcomes["test_relu"].detail
    assert "process died" in outcomes["test_abs"].detail
    assert "no end within" in outcomes["test_exp"].detail


def test_a_missed_bar_and_a_wrong_result_fail_the_run() -> None:
    good = Outcome("a", "Relu", 13, "core", "passed")
    assert not conformance.missed([good] * 29 + [dataclasses.replace(good, status="refused")])
    assert len(conformance.missed([good] * 20 + [dataclasses.replace(good, status="refused")])) == 1
    assert conformance.missed([good] * 99 + [dataclasses.replace(good, status="wrong", group="other")])
    newer = dataclasses.replace(good, opset=27, status="refused")
    assert not conformance.missed([good, newer, newer])
    assert "core" in conformance.table([good])
