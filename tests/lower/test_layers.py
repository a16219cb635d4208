"""Layer names through fusion, and merging of equal kernels."""

from __future__ import annotations

from typing import Any

import pytest
from tvm.relax import transform as rx

from tilewright.lower.extract import extract_calls, kernels_of
from tilewright.lower.layers import Origin, binding_hint, fuse_tir, layer_of, split_kernels, unify_kernels


def lowered(mod: Any) -> tuple[Any, list[tuple[str, ...]]]:
    for step in (rx.LegalizeOps(), rx.AnnotateTIROpPattern()):
        mod = step(mod)
    mod = rx.FuseOps()(split_kernels(mod))
    return unify_kernels(rx.RewriteDataflowReshape()(fuse_tir(mod)))


def test_one_entry_a_call(convolutions: Any) -> None:
    mod, layers = lowered(convolutions)
    assert len(layers) == len(extract_calls(mod).steps)
    assert layers[0] == ("/conv.1/Conv", "relu 1")


def test_equal_kernels_are_one_and_carry_no_names(convolutions: Any) -> None:
    mod, _ = lowered(convolutions)
    kernels = kernels_of(mod)
    assert sorted(kernels) == ["conv2d", "conv2d_relu", "softmax"]
    assert all("tilewright.origin" not in func.attrs for func in kernels.values())


def test_long_chains_get_a_short_name() -> None:
    assert Origin(("conv2d", "add", "relu")).name == "conv2d_add_relu"
    assert Origin(("add",) * 9).name == "add_add_add_add_etc"


@pytest.mark.parametrize("layer", ["conv1", "/f/f.0/Conv", "1_z", "Faltung übers Bild", ""])
def test_layer_names_survive_in_binding_names(layer: str) -> None:
    assert binding_hint(layer).isidentifier()
    assert binding_hint(layer).isascii()
    assert layer_of(binding_hint(layer)) == layer
    assert layer_of(binding_hint(layer) + "12") == layer


@pytest.mark.parametrize("name", ["lv", "gv3", "alloc"])
def test_names_made_up_by_relax_are_no_layers(name: str) -> None:
    assert layer_of(name) is None
