"""Totals are sums of what is listed, nothing is lost in JSON, histograms count every weight, the gate has an edge."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from rich.console import Console

from tilewright.report import (
    BINS,
    FrontPoint,
    GateReport,
    LayerReport,
    PivotReport,
    Report,
    histogram,
    tables,
)

DENSE = LayerReport("fc", "Gemm", "fc.weight", (10, 20), "dense", "f32", "raw", 800, {"values": 800})
PACKED = LayerReport(
    layer="conv",
    operator="Conv",
    weight="conv.weight",
    shape=(8, 4, 3, 3),
    layout="block_sparse(4,4)",
    codec="int4(group=32)",
    storage="entropy",
    bytes_before=1152,
    parts={"values": 100, "index": 20, "scales": 36, "padding": 4},
    activations=8,
    kept=0.625,
    snr=18.25,
    output_error=0.0123,
    note="why",
    histogram=histogram([1, 2], [1, 1]),
)
REPORT = Report("net", {"preset": "int8"}, (DENSE, PACKED), {"weights": 960, "graph": 40}, "artifact")


def test_totals_are_sums() -> None:
    assert PACKED.bytes == 100 + 20 + 36 + 4
    assert (PACKED.elements, DENSE.elements) == (288, 200)
    assert PACKED.bits_per_weight == 8 * 160 / 288
    assert (REPORT.bytes_before, REPORT.bytes, REPORT.file_bytes) == (1952, 960, 1000)
    assert REPORT.bits_per_weight == 8 * 960 / 488


def test_an_empty_report_has_totals_too() -> None:
    empty = Report("", {}, ())
    assert (empty.bytes_before, empty.bytes, empty.file_bytes, empty.bits_per_weight) == (0, 0, 0, 0)
    assert replace(DENSE, shape=(0, 4), parts={}).bits_per_weight == 0


def test_elements_do_not_overflow() -> None:
    assert replace(DENSE, shape=(2**17, 2**17)).elements == 2**34


def test_formats_leave_out_what_is_not_special() -> None:
    assert DENSE.format == "float"
    assert PACKED.format == "int4(group=32) block_sparse(4,4) entropy"
    assert replace(DENSE, layout="two_four").format == "f32 two_four"


def test_another_file_keeps_the_rest() -> None:
    there = REPORT.with_file("onnx", {"weights": 960, "graph": 999})
    assert (there.kind, there.file_bytes, there.layers) == ("onnx", 1959, REPORT.layers)
    assert replace(there, kind=REPORT.kind, file=REPORT.file) == REPORT
    assert REPORT.with_file("onnx", {}, [DENSE]).layers == (DENSE,)


def test_json_holds_everything_and_the_derived_figures() -> None:
    full = replace(
        REPORT,
        front=(FrontPoint(100, 0.5), FrontPoint(200, 0.25, 0.3, chosen=True)),
        pivots=(PivotReport("conv", 0.5, 0.6, 0.7, ("rows: output",)),),
        gathers=1,
        gate=GateReport("top-1", 0.9, 0.85, 0.1, 100),
        notes=("note",),
    )
    table = json.loads(json.dumps(full.to_json(), allow_nan=False))
    assert table["totals"] == {"bytes_before": 1952, "bytes": 960, "bits_per_weight": 8 * 960 / 488, "file_bytes": 1000}
    first, second = table["layers"]
    assert (first["bytes"], first["bits_per_weight"], first["snr"]) == (800, 32, None)
    assert second["parts"] == dict(PACKED.parts)
    assert (second["shape"], second["bytes"]) == ([8, 4, 3, 3], 160)
    assert sum(second["histogram"]["before"]) == 2
    assert table["front"][1] == {"bytes": 200, "error": 0.25, "measured": 0.3, "chosen": True, "uniform": ""}
    assert table["pivots"][0]["fixed"] == ["rows: output"]
    assert table["gate"]["samples"] == 100
    assert {key: table[key] for key in ("model", "kind", "gathers", "notes", "file", "recipe")} == {
        "model": "net",
        "kind": "artifact",
        "gathers": 1,
        "notes": ["note"],
        "file": {"weights": 960, "graph": 40},
        "recipe": {"preset": "int8"},
    }


def rendered(report: Report) -> str:
    stream = io.StringIO()
    console = Console(file=stream, width=200)
    for table in tables(report):
        console.print(table)
    return stream.getvalue()


def test_the_terminal_shows_a_row_for_each_weight_and_the_sums() -> None:
    layers, file = tables(REPORT)
    assert (layers.row_count, file.row_count) == (3, 3)  # the sum is a row
    text = rendered(REPORT)
    sums = ("net: 2 weights", "1,952", "15.74", "960", "1,000")
    row = ("conv", "int4(group=32)", "4.44", "160", "62.5%", "18.2", "1.2e-02", "why")
    assert [figure for figure in (*sums, *row) if figure not in text] == []
    assert len(tables(replace(REPORT, file={}))) == 1


@pytest.mark.parametrize("value", [None, float("nan"), float("inf"), float("-inf")])
def test_figures_that_there_are_not_are_dashes(value: float | None) -> None:
    text = rendered(replace(REPORT, layers=(replace(PACKED, kept=value, snr=value, output_error=value),)))
    assert not any(word in text for word in ("nan", "inf", "None"))
    assert text.count(" - ") == 3


@given(st.data())
def test_histograms_count_every_weight(data: st.DataObject) -> None:
    finite = st.floats(-1e6, 1e6, width=32)
    before = data.draw(arrays(np.float32, st.integers(0, 50), elements=finite))
    after = data.draw(arrays(np.float32, before.shape, elements=finite))
    counts = histogram(before, after)
    assert (len(counts.before), len(counts.after)) == (BINS, BINS)
    assert (sum(counts.before), sum(counts.after)) == (before.size, after.size)
    assert counts.limit >= np.abs(before).max(initial=0)
    assert counts.limit > 0


def test_histograms_of_the_smallest_weights() -> None:
    assert sum(histogram([1e-45], [0]).before) == 1


def test_the_edges_of_a_histogram() -> None:
    def at(before: npt.ArrayLike, after: npt.ArrayLike) -> tuple[list[int], list[int]]:
        counts = histogram(before, after)
        return [n for n, c in enumerate(counts.before) if c], [n for n, c in enumerate(counts.after) if c]

    middle, last = BINS // 2, BINS - 1
    assert at([-2, 0, 2], [0, 0, 0]) == ([0, middle, last], [middle])
    assert at([-2, 2], [-3, 3]) == ([0, last], [0, last])  # decoded values may lie beyond the range
    assert at([0, 0], [0, 0]) == ([middle], [middle])
    assert at([], []) == ([], [])
    assert histogram([-2, 1], [0, 0]).limit == 2


@pytest.mark.parametrize(
    ("before", "after", "holds"), [(0.5, 0.5, True), (0.5, 0.25, True), (0.5, 0.125, False), (0.5, 0.75, True)]
)
def test_the_gate_allows_exactly_the_drop(before: float, after: float, holds: bool) -> None:
    assert GateReport("top-1", before, after, 0.25, 10).holds == holds


def test_a_gate_without_a_figure_does_not_hold() -> None:
    assert not GateReport("spearman", 0.5, float("nan"), 0.25, 10).holds
