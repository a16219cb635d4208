"""Rows of the report: what they say about weights, and bytes that add up in either kind of file."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from tests.passes.test_encode import model
from tilewright.formats.packed import pack, snr_db, unpack
from tilewright.formats.registry import parse
from tilewright.passes.encode import Encode
from tilewright.passes.weights import all_weights
from tilewright.report_layers import Notes, layers_of, onnx_file, output_errors, uncompressed


@pytest.fixture
def graphs() -> tuple[ir.Model, ir.Model, Encode]:
    """A float network, the same with its products in int4, and the pass that did it."""
    before = model()
    after = before.clone()
    step = Encode(lambda weight: parse("int4(group=32) entropy") if weight.operator == "MatMul" else None)
    step(after)
    return before, after, step


def test_rows_compare_with_the_float_graph(graphs: tuple[ir.Model, ir.Model, Encode]) -> None:
    before, after, step = graphs
    notes = Notes()
    notes.add("here", "one")
    notes.add("here", "two")
    assert notes.of("here") == "one; two"
    rows = {row.weight: row for row in layers_of(after, step.layers, before, notes, {})}
    matrices = {weight.value.name: weight.matrix for weight in all_weights(before.graph)}
    assert list(rows) == list(matrices)
    wide, table = rows["wide"], rows["table"]
    packed = pack(matrices["wide"], "int4(group=32) entropy")
    assert wide.format == "int4(group=32) entropy"
    assert dict(wide.parts) == packed.sizes
    assert wide.snr == pytest.approx(snr_db(matrices["wide"], unpack(packed)), abs=1e-6)  # sums in another order
    assert wide.histogram is not None
    assert sum(wide.histogram.before) == sum(wide.histogram.after) == 8 * 9
    assert (table.format, table.snr, table.bytes, table.bits_per_weight) == ("float", None, 4 * 160, 32)


def test_an_onnx_file_holds_arrays_as_they_are(graphs: tuple[ir.Model, ir.Model, Encode]) -> None:
    before, after, step = graphs
    file, rows = onnx_file(after, layers_of(after, step.layers, before, Notes(), {}))
    assert sum(file.values()) == len(ir.to_proto(after).SerializeToString())
    assert file["compressed weights"] == sum(layer.packed.expanded_nbytes for layer in step.layers)
    assert file["float weights"] == sum(row.bytes for row in rows if row.format == "float")
    assert {row.storage for row in rows if row.format != "float"} == {"entropy"}  # that is for the artifact


def test_output_errors_are_of_the_worst_feed(graphs: tuple[ir.Model, ir.Model, Encode]) -> None:
    before, after, _ = graphs
    rng = np.random.default_rng(0)
    feeds = [{"x": rng.standard_normal((1, 5, 6, 6), np.float32), "tokens": np.array([n, 2, 3])} for n in range(3)]
    errors = output_errors(after, before, feeds)
    untouched = [weight.layer for weight in all_weights(before.graph) if weight.operator != "MatMul"]
    assert all(errors[layer] == 0 for layer in untouched)
    singles = [output_errors(after, before, [feed]) for feed in feeds]
    assert errors == {layer: max(single[layer] for single in singles) for layer in errors}
    assert max(errors.values()) > 0.01
    assert output_errors(after, before, None) == {}


def test_a_graph_that_came_compressed(graphs: tuple[ir.Model, ir.Model, Encode]) -> None:
    before, after, step = graphs
    rows = {row.weight: row for row in uncompressed(after).layers}
    assert rows.keys() == {weight.value.name for weight in all_weights(before.graph)}
    for layer in step.layers:
        assert rows[layer.weight].bytes == layer.packed.expanded_nbytes
        assert rows[layer.weight].format == "int4(group=32) entropy"
