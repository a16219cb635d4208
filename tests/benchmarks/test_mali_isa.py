"""The static check of Mali kernels: how it reads the compiler, and the real compiler where there is one."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import onnx
import pytest

from benchmarks import compressed_layers, mali_isa
from benchmarks.mali_isa import COMPILER_VARIABLE, Compiler, Row, examine
from tests.targets.gpu import conv_and_dense, residual_net
from tests.targets.schedules.compressed_layers import integers, packed, product
from tilewright import compile as compile_model
from tilewright.errors import ToolError
from tilewright.targets.opencl_source import split

FAKE = """#!/bin/sh
for last; do :; done
echo "DEVICE Mali-G52 (Panfrost)"
for name in $(grep -o 'void [a-z0-9_]*(' "$last" | cut -d' ' -f2 | tr -d '('); do
  case $name in compressed*) spills=7:9 ;; *) spills=0:0 ;; esac
  echo "SHADER-DB: shader: 10 inst, 8 tuples, 7.500000 cycles, 0 preloads, 1 loops, $spills spills:fills"
  names="$names $name"
done
echo "BUILD 0 "
for name in $names; do echo "KERNEL $name wg=128 local=64 private=0"; done
"""


@pytest.fixture
def compiler() -> Compiler:
    """The real one, where there is one."""
    command = os.environ.get(COMPILER_VARIABLE)
    if not command:
        pytest.skip(f"no offline Mali compiler; set {COMPILER_VARIABLE} (benchmarks/mali_isa.py says to what)")
    return Compiler(command)


@pytest.fixture
def fake(tmp_path: Path) -> str:
    """A compiler that finds spills in every matrix product."""
    path = tmp_path / "compiler"
    path.write_text(FAKE)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_unsound_kernels_are_named(fake: str) -> None:
    plan = compile_model(conv_and_dense(), target="mali-g52").plan
    row = Row("toy", "g52", "fp32")
    examine(plan, Compiler(fake), row)
    kernels = {launch.kernel for launch in plan.launches}
    assert row.statistics.kernels == len(kernels)
    assert row.statistics.instructions == 10 * len(kernels)
    assert row.statistics.cycles == 7 * len(kernels)
    assert row.statistics.local_bytes == 64
    assert set(row.unsound) == {name for name in kernels if name.startswith("compressed")} != set()


def test_exit_code_tells_of_spills(fake: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    onnx.save(conv_and_dense(), tmp_path / "toy.onnx")
    command = ["--models", str(tmp_path / "toy.onnx"), "--gpus", "g52", "--precisions", "fp32", "--compiler", fake]
    assert mali_isa.main(command) == 1
    printed = capsys.readouterr().out
    assert "16 spills" in printed
    assert "not device time" in printed


def test_compressed_layers_in_place_of_models(
    fake: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(compressed_layers, "CODECS", {"float": ("int4",)})
    saved = tmp_path / "rows.json"
    command = ["--layers", "product-1", "--gpus", "g52", "--precisions", "fp32", "--json", str(saved)]
    assert mali_isa.main([*command, "--compiler", fake]) == 1
    (row,) = json.loads(saved.read_text())
    assert (row["model"], row["error"], row["unpacked"]) == ("product-1-float", "", {})
    assert row["statistics"]["kernels"] == len(row["unsound"]) == len(compressed_layers.BLOCKS)
    assert "unpacked" in capsys.readouterr().out


def test_a_compiler_that_cannot_start_is_a_tool_error() -> None:
    with pytest.raises(ToolError, match="cannot start no-such-compiler"):
        Compiler("no-such-compiler").compile("g52", "")


@pytest.mark.parametrize("gpu", ["g52", "g57"])
def test_kernels_of_a_small_network_are_sound(gpu: str, compiler: Compiler) -> None:
    """Static figures of Mesa's compiler, not device time."""
    row = Row("residual net", gpu, "fp32")
    examine(compile_model(residual_net(), target=f"mali-{gpu}").plan, compiler, row)
    assert not row.unsound
    assert row.statistics.kernels > 5


def test_rows_of_bytes_spill_nothing_without_the_instruction(compiler: Compiler) -> None:
    """Many words of five bits share the registers with a tile of rows; Mesa has no dot product."""
    model = product(packed(integers(256, 256, 5), "block_sparse(4,4) int5", 0.25), (8,), quantized="static")
    (image,) = compile_model(model, target="mali-g57").plan.modules[0].images
    prelude, kernels = split(image.data.decode())
    (kernel,) = (text for text in kernels.values() if "dot4(" in text)
    assert compiler.compile("g57", prelude + kernel).spills == 0
