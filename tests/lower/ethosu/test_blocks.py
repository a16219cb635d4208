"""Blocks: valid ones, and none with clearly fewer cycles left aside."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tilewright.lower.ethosu.blocks import choose_block
from tilewright.lower.ethosu.estimate import Memories, Model
from tilewright.lower.ethosu.jobs import Kernel, read_words
from tilewright.lower.ethosu.memory import place
from tilewright.lower.ethosu.operations import Operations

from .networks import Builder

api = pytest.importorskip("ethosu.vela.api", reason="no Vela: pip install 'tilewright[nna]'")


@pytest.mark.parametrize(
    ("size", "depth", "channels", "kernel", "depthwise"),
    [(14, 24, 40, 3, False), (9, 40, 40, 5, True), (1, 64, 100, 1, False), (30, 3, 16, 3, False)],
)
def test_against_all_blocks(size: int, depth: int, channels: int, kernel: int, depthwise: bool) -> None:
    """1 % is what the choice gives away for larger blocks."""
    b = Builder()
    x = b.map(size, size, depth)
    network = b.network([x], [b.conv(x, channels, kernel, depthwise=depthwise)])
    model = Model("ethos-u55-256", Memories())
    op = Operations(network, place(network)).build(network.operations[0])
    blocks = [tuple(block) for block in api.npu_find_block_configs(op, api.NpuAccelerator.Ethos_U55_256)]
    op.block_config = api.NpuShape3D(*blocks[0])
    (job,) = read_words(api.npu_generate_register_command_stream([op], api.NpuAccelerator.Ethos_U55_256))[:1]
    assert isinstance(job, Kernel)
    chosen = choose_block(job, model)
    assert chosen.block in blocks
    least = min(model.kernel(replace(job, block=block)).busy for block in blocks)
    assert chosen.cost.busy <= 1.01 * least
