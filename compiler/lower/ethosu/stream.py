"""A network's command stream: operations of ethosu.vela.api with our own order, memory plan and block sizes."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from tilewright.errors import Problem, ToolError, UnsupportedError
from tilewright.integer.depths import entropy_bits
from tilewright.integer.network import Concat, Convolution, Lookup, Network, Operation, View
from tilewright.lower.ethosu.blocks import choose_block
from tilewright.lower.ethosu.estimate import Cost, Memories, Model, estimate
from tilewright.lower.ethosu.fast import CAPACITY
from tilewright.lower.ethosu.jobs import SHRAM, Kernel, Transfer, read, read_words
from tilewright.lower.ethosu.memory import FAST, SCRATCH, WEIGHTS, Buffer, Placement, place, place_best
from tilewright.lower.ethosu.moves import spell_out
from tilewright.lower.ethosu.operations import Operations
from tilewright.lower.ethosu.prefetch import Options, choose_leads, issued
from tilewright.lower.ethosu.weights import Coded, Weights, table_image

try:
    from ethosu.vela import api
except ImportError:  # Vela is an optional extra
    api = None


_SHRAM = 1 << 8 | 3  # the region that means the accelerator's own memory
_TABLES = 2048  # bytes: tables lie at the end of it
_CODE = 1.1  # coded weights are about so much longer than their entropy, at most
_RECORD = 10  # bytes of a channel's bias and scale
_SPARE = 128 * 1024  # bytes of scratch memory that copies of weights may need, however little the maps do


@dataclass(frozen=True)
class LayerCode:
    """What one layer became.

    Attributes:
        weight_bytes: of coded weights.
        scale_bytes: of biases and scales, or of a table.
        plain_bytes: of the weights at 8 bits.
        entropy_bytes: of the weights at their zero-order entropy: what no code without context gets below.
        output_bits: of what it makes.
        estimate: of cycles and traffic; nothing was measured.
        utilisation: share of the multipliers that it estimates to be busy.
    """

    layer: str
    weight_bytes: int
    scale_bytes: int
    plain_bytes: int
    entropy_bytes: float
    output_bits: int
    estimate: Cost
    utilisation: float


@dataclass(frozen=True)
class Stream:
    """A command stream and what it needs in memory.

    Attributes:
        payload: what an Ethos-U driver is handed.
        weights: region 0: coded weights, biases and scales.
        workspaces: sizes of the regions from 1 on: of scratch memory and, on U65, of fast memory. Inputs, then
            outputs, follow.
    """

    payload: bytes
    weights: bytes
    workspaces: tuple[int, ...]
    layers: tuple[LayerCode, ...]


def compile_network(network: Network, accelerator: str) -> Stream:
    """Compiles a network.

    Args:
        accelerator: as Vela names it, for example ``ethos-u55-128``.

    Raises:
        ToolError: Vela is not installed, or refuses an operation.
        UnsupportedError: too many inputs and outputs, or an operation of which no block fits into its memory.
    """
    if api is None:
        raise ToolError("targets of Ethos-U need Arm's Vela: pip install 'tilewright[nna]'")
    with contextlib.redirect_stdout(io.StringIO()):  # Vela warns of the default configuration, which we want
        return _Emitter(spell_out(network), accelerator).run()


class _Emitter:
    """Blocks, then which weights are copied into fast memory, then the weights' code, then addresses."""

    def __init__(self, network: Network, accelerator: str) -> None:
        self.network = network
        self.name = accelerator
        self.accelerator = getattr(api.NpuAccelerator, accelerator.replace("ethos-u", "Ethos_U").replace("-", "_"))
        # Where maps lie in DRAM, there is fast memory for some of them, and for copies of weights.
        self.fast = place_best(network, CAPACITY) if accelerator.startswith("ethos-u65") else None
        self.copies = SCRATCH if self.fast is None else FAST
        self.memories = Memories(fast=frozenset() if self.fast is None else frozenset({FAST}))
        self.model = Model(accelerator, self.memories)
        self.weights = Weights(self.accelerator, cores=2 if accelerator == "ethos-u65-512" else 1)
        self.shram_bytes = (24 if accelerator == "ethos-u55-128" else 48) * 1024  # of one core
        self.numbers = [
            at for at, operation in enumerate(network.operations) if not isinstance(operation, (View, Concat))
        ]
        self.operations = [network.operations[at] for at in self.numbers]

    def run(self) -> Stream:
        plain = self.place()
        chosen = [self.options(operation, plain) for operation in self.operations]
        leads = choose_leads([options for options, _ in chosen], self.model.most_transfers, self.room(plain))
        blocks = [found[bool(lead)] for (_, found), lead in zip(chosen, leads, strict=True)]
        placement, operations = plain, self.emit(plain, blocks)
        coded = [self.code(op, operation) for op, operation in zip(operations, self.operations, strict=True)]
        if any(leads):
            leads = self.shortened(leads, [code.span[1] for code in coded])
            placement = self.place(self.buffers(leads, [code.span[1] for code in coded]))
            operations = self.emit(placement, blocks)
        stream = self.stream(operations, coded, leads, placement)
        try:
            words = api.npu_generate_register_command_stream(stream, self.accelerator)
            payload = bytes(api.npu_create_driver_payload(words, self.accelerator))
        except Exception as error:  # Vela's errors and assertions
            raise ToolError(f"Vela cannot write the command stream: {error}") from error
        costs = estimate(read(payload), self.name, self.memories)
        layers = tuple(map(self.layer, self.operations, coded, costs))
        workspaces = (placement.scratch_bytes, *(() if self.fast is None else (placement.fast_bytes,)))
        return Stream(payload, self.weights.data(), workspaces, layers)

    def place(self, buffers: Sequence[Buffer] = ()) -> Placement:
        return place(self.network, buffers, self.fast)

    def options(self, operation: Operation, placement: Placement) -> tuple[Options, tuple[Any, Any]]:
        """What an operation takes with weights where they are and with copied ones, and the best block for each."""
        job = self.job(operation, placement)
        block = choose_block(job, self.model)
        if not isinstance(operation, Convolution):
            table = None
            if isinstance(operation, Lookup):
                table = self.model.transfer(Transfer(WEIGHTS, SHRAM, len(table_image(operation.table))))[0]
            return Options(block.cost.busy, table=table), (block.block, block.block)
        copied = choose_block(replace(job, weight_region=self.copies), self.model)
        transfer, moved = self.model.transfer(Transfer(WEIGHTS, self.copies, job.weight_bytes + job.scale_bytes))
        saved = block.cost.external - copied.cost.external - moved.external
        return Options(block.cost.busy, copied.cost.busy, transfer, saved=saved), (block.block, copied.block)

    def job(self, operation: Operation, placement: Placement) -> Kernel:
        """An operation as the accelerator is told, with a block that fits; weights have their entropy's size."""
        op = Operations(self.network, placement).build(operation)
        try:
            op.block_config = api.npu_find_block_configs(op, self.accelerator)[0]
        except AssertionError:  # there is none, which Vela does not expect
            raise UnsupportedError(
                f"{self.name} cannot run the network:",
                [
                    Problem(
                        operation.layer,
                        "what one block of its results reads does not fit into the accelerator's memory",
                        "use a smaller kernel or dilation, 8-bit activations, or an accelerator with more memory",
                    )
                ],
            ) from None
        (job,) = read_words(api.npu_generate_register_command_stream([op], self.accelerator))[:1]
        assert isinstance(job, Kernel)
        if isinstance(operation, Convolution):
            size, scales = round(entropy_bits(operation.weights) / 8), _RECORD * len(operation.weights)
            return replace(job, weight_bytes=size, scale_bytes=scales, weight_region=WEIGHTS)
        return job

    def room(self, plain: Placement) -> Any:
        """Whether copies fit into the memory that the maps take anyway, or into a little; or into fast memory."""
        sizes = [
            round(_CODE * entropy_bits(operation.weights) / 8) + _RECORD * len(operation.weights) + _RECORD
            if isinstance(operation, Convolution)
            else 0
            for operation in self.operations
        ]

        most = max(plain.scratch_bytes, _SPARE)

        def fits(leads: Sequence[int]) -> bool:
            placed = self.place(self.buffers(leads, sizes))
            return placed.scratch_bytes <= most if self.fast is None else placed.fast_bytes <= CAPACITY

        return fits

    def buffers(self, leads: Sequence[int], sizes: Sequence[int]) -> list[Buffer]:
        """Memory for copies of weights, from two kernels before the copy begins: they may be under way."""
        return [
            Buffer(at, size, self.numbers[max(at - lead - 1, 0)], self.numbers[at])
            for at, (lead, size) in enumerate(zip(leads, sizes, strict=True))
            if lead
        ]

    def shortened(self, leads: tuple[int, ...], sizes: Sequence[int]) -> tuple[int, ...]:
        """Fewer copies, where coded weights turn out to be longer than fast memory has room for."""
        while self.fast is not None and self.place(self.buffers(leads, sizes)).fast_bytes > CAPACITY:
            longest = max(range(len(leads)), key=lambda at: sizes[at] * bool(leads[at]))
            leads = tuple(lead if at != longest else 0 for at, lead in enumerate(leads))
        return leads

    def emit(self, placement: Placement, blocks: Sequence[Any]) -> list[Any]:
        builder = Operations(self.network, placement)
        found = []
        for operation, block in zip(self.operations, blocks, strict=True):
            op = builder.build(operation)
            op.block_config = api.NpuShape3D(*block)
            found.append(op)
        return found

    def code(self, op: Any, operation: Operation) -> Coded:
        if isinstance(operation, Convolution):
            return self.weights.add(operation, op)
        if isinstance(operation, Lookup):
            return self.weights.add_table(operation)
        return Coded((), ())

    def stream(
        self, operations: Sequence[Any], coded: Sequence[Coded], leads: Sequence[int], placement: Placement
    ) -> list[Any]:
        """Operations and transfers in order."""
        found: list[Any] = []
        for at, (op, code, copies) in enumerate(zip(operations, coded, issued(leads), strict=True)):
            for other in copies:
                source, size = coded[other].span
                target = api.NpuAddressRange(self.copies, placement.buffers[other], size)
                found.append(api.NpuDmaOperation(api.NpuAddressRange(WEIGHTS, source, size), target))
            if code.weights:
                region, move = (self.copies, placement.buffers[at] - code.span[0]) if leads[at] else (WEIGHTS, 0)
                op.weights = [api.NpuAddressRange(region, begin + move, size) for begin, size in code.weights]
                op.biases = [api.NpuAddressRange(region, begin + move, size) for begin, size in code.scales]
            elif code.scales:
                table = api.NpuAddressRange(_SHRAM, self.shram_bytes - _TABLES, code.scales[0][1])
                found.append(api.NpuDmaOperation(api.NpuAddressRange(WEIGHTS, *code.scales[0]), table))
            found.append(op)
        return found

    def layer(self, operation: Operation, code: Coded, cost: Cost) -> LayerCode:
        weights, scales = (sum(length for _, length in spans) for spans in (code.weights, code.scales))
        plain = operation.weights.size if isinstance(operation, Convolution) else 0
        entropy = entropy_bits(operation.weights) / 8 if isinstance(operation, Convolution) else 0.0
        busy = cost.macs / (max(cost.cycles, 1) * self.model.macs)
        bits = self.network.maps[operation.target].affine.bits
        return LayerCode(operation.layer, weights, scales, plain, entropy, bits, cost, busy)
