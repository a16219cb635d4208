"""Tiles become buffers of a vector each, on the stack; what is indexed at run time, or shared, stays whole."""

from __future__ import annotations

from typing import Any

import numpy as np
import tvm
import tvm_ffi
from hypothesis import given, settings
from hypothesis import strategies as st
from tvm import tirx

from tilewright.targets.registers import on_stack, split_registers

SIZE = 320  # int32: more than the stack may hold at once


def local(size: int = SIZE) -> Any:
    return tirx.decl_buffer((size,), "int32", name="tile", scope="local")


def function(body: list[Any], result: Any) -> Any:
    return tirx.PrimFunc([result], tirx.SeqStmt(body))


def allocated(func: Any) -> list[Any]:
    found: list[Any] = []

    def visit(node: Any) -> None:
        if isinstance(node, tirx.AllocBuffer):
            found.append(node.buffer)

    tvm_ffi.structural_walk(func.body, visit, order="pre")
    return found


def shapes(func: Any) -> list[tuple[int, str]]:
    return [(int(buffer.shape[0]), str(buffer.scope())) for buffer in allocated(func)]


def vector(start: int, lanes: int) -> Any:
    return tirx.Ramp(tirx.const(start, "int32"), 1, lanes) if lanes > 1 else tirx.const(start, "int32")


def splat(value: int, lanes: int) -> Any:
    constant = tirx.const(value, "int32")
    return tirx.Broadcast(constant, lanes) if lanes > 1 else constant


def outcome(func: Any, size: int) -> np.ndarray[Any, Any]:
    result = tvm.runtime.tensor(np.zeros(size, np.int32))
    tvm.compile(tvm.IRModule({"main": func.with_attr("global_symbol", "main")}), target="llvm")["main"](result)
    array: np.ndarray[Any, Any] = result.numpy()
    return array


@given(spans=st.lists(st.tuples(st.integers(0, SIZE - 16), st.sampled_from([1, 4, 16])), min_size=2, max_size=8))
@settings(max_examples=10, deadline=None)
def test_any_constant_accesses_compute_the_same(spans: list[tuple[int, int]]) -> None:
    tile, result = local(), tirx.decl_buffer((SIZE,), "int32", name="result")
    writes = [tirx.BufferStore(tile, splat(n + 1, lanes), [vector(at, lanes)]) for n, (at, lanes) in enumerate(spans)]
    reads = [
        tirx.BufferStore(result, tirx.BufferLoad(tile, [vector(at, lanes)]), [vector(at, lanes)]) for at, lanes in spans
    ]
    func = function([tirx.AllocBuffer(tile), *writes, *reads], result)
    split = split_registers(func)
    expected = np.zeros(SIZE, np.int32)
    for n, (at, lanes) in enumerate(spans):
        expected[at : at + lanes] = n + 1
    np.testing.assert_array_equal(outcome(split, SIZE), expected)
    assert all(on_stack(buffer) for buffer in allocated(split))
    assert sum(int(buffer.shape[0]) for buffer in allocated(split)) == np.count_nonzero(expected)


def test_vectors_of_a_tile_are_buffers_of_their_own() -> None:
    tile, result = local(), tirx.decl_buffer((16,), "int32", name="result")
    writes = [tirx.BufferStore(tile, splat(at, 16), [vector(at, 16)]) for at in range(0, SIZE, 16)]
    read = tirx.BufferStore(result, tirx.BufferLoad(tile, [vector(32, 16)]), [vector(0, 16)])
    split = split_registers(function([tirx.AllocBuffer(tile), *writes, read], result))
    assert shapes(split) == [(16, "global")] * (SIZE // 16)
    assert not on_stack(tile)


def indexed(size: int) -> tuple[Any, Any]:
    """A tile that a loop's variable indexes."""
    tile, result = local(size), tirx.decl_buffer((size,), "int32", name="result")
    i = tirx.Var("i", "int32")
    store = tirx.BufferStore(tile, i, [i])
    read = tirx.BufferStore(result, tirx.BufferLoad(tile, [vector(3, 1)]), [vector(3, 1)])
    body = [tirx.AllocBuffer(tile), tirx.For(i, tirx.const(0, "int32"), tirx.const(size, "int32"), 0, store), read]
    return function(body, result), size


def test_what_a_loop_indexes_stays_whole() -> None:
    small, size = indexed(40)
    split = split_registers(small)
    assert shapes(split) == [(40, "global")]
    assert outcome(split, size)[3] == 3
    large, _ = indexed(SIZE)
    assert shapes(split_registers(large)) == [(SIZE, "local")]


def test_memory_that_another_buffer_shares_stays() -> None:
    tile, result = local(16), tirx.decl_buffer((16,), "int32", name="result")
    alias = tirx.decl_buffer((16,), "int32", name="alias", scope="local")
    body = [
        tirx.AllocBuffer(tile),
        tirx.BufferStore(tile, splat(7, 16), [vector(0, 16)]),
        tirx.DeclBuffer(alias, data=tile.data),
        tirx.BufferStore(result, tirx.BufferLoad(alias, [vector(0, 16)]), [vector(0, 16)]),
    ]
    assert shapes(split_registers(function(body, result))) == [(16, "local")]
