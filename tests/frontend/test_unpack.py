"""Compressed weights through the whole compiler: kernels decode them as the reference does, bit for bit."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

import tilewright
from tests.passes.test_encode import FORMATS, model
from tests.targets.gpu import needs_opencl
from tilewright.errors import DataError, UnsupportedError
from tilewright.formats.registry import parse
from tilewright.passes.coring import Coring, Rule
from tilewright.passes.encode import Encode, is_unpack, unpackings
from tilewright.runtime import Session


def encoded(spec: str) -> ir.Model:
    """The test network in a format, with every decoded weight as an output."""
    made, form = model(), parse(spec)
    if not form.layout.spec.startswith("dense"):
        Coring(lambda weight: Rule(density=0.5, layout=form.layout))(made)
    Encode(lambda weight: form if weight.prunable or form.layout.spec == "dense" else None)(made)
    made.graph.outputs.extend(node.outputs[0] for node in made.graph if is_unpack(node))
    return made


def check(spec: str, target: str) -> None:
    made = encoded(spec)
    artifact = tilewright.compile(made, target)
    rng = np.random.default_rng(1)
    feeds = {"x": rng.standard_normal((1, 5, 6, 6), np.float32), "tokens": np.array([3, 0, 19])}
    with Session(artifact.to_bytes()) as session:
        got = session.run(feeds)
    for node, unpacking in unpackings(made.graph):
        np.testing.assert_array_equal(got[str(node.outputs[0].name)], unpacking.decode(node), strict=True)
    arrays = [array for node, unpacking in unpackings(made.graph) for array in unpacking.arrays(node).values()]
    packed = sum(array.nbytes + 1 for array in arrays)  # a small array's first byte says how the rest is coded
    constants = artifact.sizes().constants
    weights = {str(node.outputs[0].name) for node, _ in unpackings(made.graph)}
    stored = sum(size for name, size in constants.items() if name.rpartition(".")[0] in weights)
    assert 0 < stored <= packed + 512 * 6 * ("entropy" in spec)  # entropy coding of a few symbols may cost its tables


@pytest.mark.parametrize("spec", FORMATS)
def test_cpu_kernels_decode_as_the_reference_does(spec: str) -> None:
    check(spec, "cpu")


@pytest.mark.parametrize("spec", ["block_sparse(4,4) int4(group=16)", "vbd(4.5)", "astc(10,10)", "codebook(11)"])
def test_opencl_kernels_decode_as_the_reference_does(spec: str) -> None:
    needs_opencl()
    check(spec, "mali")


def test_a_damaged_node_is_refused_by_name() -> None:
    made = encoded("int8")
    node = next(node for node in made.graph if is_unpack(node))
    node.attributes["matrix"] = ir.AttrInt64s("matrix", [3, 3])
    with pytest.raises((UnsupportedError, DataError), match="unpack"):
        tilewright.compile(made, "cpu")
