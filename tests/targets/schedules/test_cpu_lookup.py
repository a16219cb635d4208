"""Tables in registers and in memory, against NumPy's indexing, for every size and instruction set of this machine."""

from __future__ import annotations

import numpy as np
import pytest
import tvm
from tvm import tirx

from tests.targets.running import levels_here
from tilewright.targets import resolve
from tilewright.targets.schedules.cpu_lookup import Lookup
from tilewright.targets.schedules.ir import i64, i64s, loop, ramp, sequence

SIZES = (1, 4, 8, 9, 16, 17, 32, 33, 64, 100, 128, 129, 256)


@pytest.mark.parametrize("lanes", [4, 8, 16])
def test_equals_indexing(lanes: int) -> None:
    fits = {4: "cpu-avx2", 8: "cpu-avx2", 16: "cpu-avx512"}[lanes]
    if fits not in levels_here():
        pytest.skip(f"this machine is no {fits}")
    target = resolve(fits)
    rng = np.random.default_rng(0)
    numbers = np.stack([rng.integers(0, size, 4 * lanes) for size in SIZES]).astype(np.int32)
    lookups = [Lookup.of(target.device, lanes, size) for size in SIZES]
    tables = [rng.standard_normal(lookup.size).astype(np.float32) for lookup in lookups]
    buffers = [tirx.decl_buffer(i64s(len(table)), "float32", name="table") for table in tables]
    source = tirx.decl_buffer(i64s(*numbers.shape), "int32", name="numbers")
    result = tirx.decl_buffer(i64s(*numbers.shape), "float32", name="result")
    statements = []
    for row, (lookup, table) in enumerate(zip(lookups, buffers, strict=True)):
        registers, loads = lookup.open(table)
        assert len(registers) == lookup.registers

        def one(
            n: object, row: int = row, lookup: Lookup = lookup, table: object = table, registers: object = registers
        ) -> object:
            at, number = [i64(row), ramp(n * lanes, lanes)], tirx.Var("number", f"int32x{lanes}")  # type: ignore[operator]
            entry = lookup.entry(table, registers, number)  # type: ignore[arg-type]
            return sequence([tirx.Bind(number, tirx.BufferLoad(source, at)), tirx.BufferStore(result, entry, at)])

        statements += [*loads, loop(4, one)]
    function = tirx.PrimFunc([source, *buffers, result], sequence(statements)).with_attr("global_symbol", "main")
    library = tvm.compile(tvm.IRModule({"main": function}), target.tvm_target)
    out = tvm.runtime.empty(numbers.shape, "float32")
    library["main"](*(tvm.runtime.tensor(array) for array in (numbers, *tables)), out)
    wanted = np.stack([table[row] for table, row in zip(tables, numbers, strict=True)])
    np.testing.assert_array_equal(out.numpy(), wanted)


def test_registers_are_left_for_others() -> None:
    for name in ("cpu-avx2", "cpu-avx512", "cpu-neon"):
        device = resolve(name).device
        lanes = device.facts["vector_bytes"] // 4
        for size in SIZES:
            lookup = Lookup.of(device, lanes, size)
            assert lookup.registers <= device.facts["vector_registers"] // 4
            assert lookup.size >= max(size, lookup.registers * lanes)
            assert Lookup.of(device, lanes, lookup.size) == Lookup(lanes, lookup.size, lookup.vectors)


def test_larger_tables_cost_more() -> None:
    device = resolve("cpu-avx512").device
    costs = [Lookup.of(device, 16, size).cost for size in SIZES]
    assert costs == sorted(costs)
