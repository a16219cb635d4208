"""What is read back from a stream, against what went into it."""

from __future__ import annotations

import pytest

from tilewright.integer.network import Convolution, Pooling
from tilewright.lower.ethosu import compile_network
from tilewright.lower.ethosu.jobs import Kernel, Transfer, read

from .networks import Builder, residual

pytest.importorskip("ethosu.vela", reason="no Vela: pip install 'tilewright[nna]'")


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_kernels_are_the_operations(dtype: str) -> None:
    network = residual(dtype)
    stream = compile_network(network, "ethos-u65-512")
    kernels = [job for job in read(stream.payload) if isinstance(job, Kernel)]
    operations = [operation for operation in network.operations if operation.layer in {c.layer for c in stream.layers}]
    assert len(kernels) == len(operations) == len(stream.layers)
    for kernel, operation, code in zip(kernels, operations, stream.layers, strict=True):
        source, target = network.maps[operation.sources[0]], network.maps[operation.target]
        assert kernel.ofm.shape == target.shape
        assert kernel.ofm.bits == target.affine.bits
        assert kernel.ifm.shape[2] == source.shape[2]
        # Rows that no window reaches are not read.
        assert all(0 <= have - need < 3 for have, need in zip(source.shape, kernel.ifm.shape, strict=True))
        if isinstance(operation, Convolution):
            assert kernel.kind == ("depthwise" if operation.depthwise else "convolution")
            assert (kernel.weight_bytes, kernel.scale_bytes) == (code.weight_bytes, code.scale_bytes)
            window = operation.window
            assert (kernel.kernel, kernel.strides, kernel.dilations) == (
                window.kernel, window.strides, window.dilations
            )  # fmt: skip
        if isinstance(operation, Pooling):
            assert (kernel.kind, kernel.mode) == ("pooling", ("MAX", "AVERAGE").index(operation.kind))
    assert sum(kernel.kind == "elementwise" for kernel in kernels) == 3
    assert sum(kernel.table for kernel in kernels) == 1
    assert [kernel.clamps for kernel in kernels].count(True) == 1


def test_transfers_bring_tables_and_weights() -> None:
    b = Builder()
    x = b.map(24, 24, 16)
    y = b.conv(b.conv(b.conv(x, 32, 1), 32, 3), 64, 1)
    network = b.network([x], [b.lookup(y)])
    stream = compile_network(network, "ethos-u55-128")
    transfers = [job for job in read(stream.payload) if isinstance(job, Transfer)]
    sizes = [job.nbytes for job in transfers]
    assert 256 in sizes  # the table
    assert any(job.target == 1 and job.nbytes > 1000 for job in transfers)  # weights of the 3 x 3 kernel
    assert all(job.source == 0 for job in transfers)


@pytest.mark.parametrize("payload", [b"", b"COP2", b"COP1\0\0\0\5"])
def test_no_stream(payload: bytes) -> None:
    with pytest.raises(ValueError, match="payload"):
        read(payload)
